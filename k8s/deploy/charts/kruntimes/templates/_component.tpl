{{/* All objects of one component: dict "root" $ "component" "scheduler" "args" (list of its own flags). */}}
{{- define "kruntimes.component" -}}
{{- $root := .root -}}
{{- $values := index $root.Values .component -}}
{{- $name := printf "%s-%s" (include "kruntimes.fullname" $root) .component -}}
{{- $selector := include "kruntimes.selector" . -}}
{{- $labels := merge (fromYaml $selector) (include "kruntimes.labels" $root | fromYaml) | toYaml -}}
{{- $namespace := $root.Release.Namespace -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
{{- range $document := splitList "\n---\n" ($root.Files.Get (printf "files/%s-roles.yaml" .component)) }}
{{- $role := $document | fromYaml }}
{{- $isNamespaced := eq $role.kind "Role" }}
---
apiVersion: {{ $role.apiVersion }}
kind: {{ $role.kind }}
metadata:
  name: {{ $name }}
  {{- if $isNamespaced }}
  namespace: {{ $namespace }}
  {{- end }}
  labels: {{- $labels | nindent 4 }}
rules: {{- toYaml $role.rules | nindent 2 }}
---
apiVersion: {{ $role.apiVersion }}
kind: {{ $role.kind }}Binding
metadata:
  name: {{ $name }}
  {{- if $isNamespaced }}
  namespace: {{ $namespace }}
  {{- end }}
  labels: {{- $labels | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: {{ $role.kind }}, name: {{ $name }}}
subjects: [{kind: ServiceAccount, name: {{ $name }}, namespace: {{ $namespace }}}]
{{- end }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
spec:
  replicas: {{ $values.replicas }}
  selector:
    matchLabels: {{- $selector | nindent 6 }}
  template:
    metadata:
      labels: {{- $labels | nindent 8 }}
      {{- with $values.podAnnotations }}
      annotations: {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ $name }}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext: {{- toYaml $values.podSecurityContext | nindent 8 }}
      {{- with $values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      topologySpreadConstraints:
        {{- if $values.topologySpreadConstraints }}
        {{- toYaml $values.topologySpreadConstraints | nindent 8 }}
        {{- else }}
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- $selector | nindent 14 }}
        {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ include "kruntimes.image" (dict "root" $root "image" $values.image) }}
          imagePullPolicy: {{ $values.imagePullPolicy }}
          args:
            {{- if $values.leaderElect }}
            - --leader-elect
            {{- end }}
            - --metrics-bind-address={{ $values.metricsBindAddress }}
            - --health-probe-bind-address={{ $values.probeBindAddress }}
            {{- range .args }}
            - {{ . | quote }}
            {{- end }}
          env:
            - name: POD_NAMESPACE # of the Lease
              valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
          ports:
            - {name: metrics, containerPort: {{ $values.metricsPort }}}
            - {name: probes, containerPort: {{ $values.probePort }}}
          livenessProbe:
            httpGet: {path: /healthz, port: probes}
            initialDelaySeconds: 5
            periodSeconds: 10
          readinessProbe:
            httpGet: {path: /readyz, port: probes}
            initialDelaySeconds: 1
            periodSeconds: 5
          resources: {{- toYaml $values.resources | nindent 12 }}
          securityContext: {{- toYaml $values.securityContext | nindent 12 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- $selector | nindent 6 }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-metrics
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
  {{- with $root.Values.metrics.service.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $root.Values.metrics.service.type }}
  selector: {{- $selector | nindent 4 }}
  ports: [{name: metrics, port: {{ $root.Values.metrics.service.port }}, targetPort: metrics}]
{{- end -}}
