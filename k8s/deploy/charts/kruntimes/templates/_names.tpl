{{/* The release's name if it says kruntimes, else with it. */}}
{{- define "kruntimes.fullname" -}}
{{- if contains "kruntimes" .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-kruntimes" (.Release.Name | trunc 30) | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* An image as it is written if it has a tag or digest, else of this version: dict "root" $ "image" "name". */}}
{{- define "kruntimes.image" -}}
{{- $image := printf "%s%s" (.root.Values.global.imageRegistry | default "") .image -}}
{{- if or (contains "@" $image) (contains ":" (base $image)) -}}
{{ $image }}
{{- else -}}
{{ printf "%s:%s" $image .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What never changes, for selectors: dict "root" $ "component" "scheduler". */}}
{{- define "kruntimes.selector" -}}
app: kruntimes-{{ .component }}
app.kubernetes.io/name: kruntimes
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "kruntimes.labels" -}}
app.kubernetes.io/name: kruntimes
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: kruntimes
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
