#!/usr/bin/env bash
# A kind cluster with the images of this tree and kruntimes in it, and both built-in Runtimes in the namespace default.
# Safe to repeat: what is there stays. `kind delete cluster --name kruntimes` ends it.
#
# KIND_CLUSTER   its name (default: kruntimes)
set -euo pipefail
cd "$(dirname "$0")/.."

cluster=${KIND_CLUSTER:-kruntimes}
tag=0.1.0
otherwise="Without it: \`make install\` makes a cluster of one node that needs neither Docker nor kind (docs/install.md)."

# PROGRAM REMEDY
need() { command -v "$1" > /dev/null || { printf '%s is not there: %s\n%s\n' "$1" "$2" "$otherwise" >&2; exit 1; }; }

need docker "install Docker; kind runs its nodes as containers of it."
docker info > /dev/null 2>&1 || { printf 'docker does not answer: start it; what "docker info" says is the reason.\n%s\n' "$otherwise" >&2; exit 1; }
need kind "install it as its documentation says."
need kubectl "install it, or put the one of \`make kube-binaries\` onto PATH."
kubectl() { command kubectl --context "kind-$cluster" "$@"; }

k8s/images/build.sh "$tag"
kind get clusters | grep --quiet --line-regexp "$cluster" || kind create cluster --name "$cluster" --wait 2m
for image in scheduler controller runtimed bash-runtime python-runtime; do
  kind load docker-image --name "$cluster" "kruntimes-$image:$tag"
done

kubectl apply --server-side -k k8s/deploy/overlays/kind
if kubectl get --raw /apis/admissionregistration.k8s.io/v1 | grep '"mutatingadmissionpolicies"' > /dev/null; then
  kubectl apply --server-side -f k8s/deploy/components/untracked-runs/untracked-runs.yaml # Kubernetes 1.36 and later
fi
kubectl wait --for=condition=Established --timeout=30s crd/runs.kruntimes.io crd/runtimes.kruntimes.io
for component in scheduler controller; do
  kubectl --namespace kruntimes-system rollout status --timeout=2m "deployment/kruntimes-$component"
done
kubectl --namespace default apply -k k8s/deploy/runtimes
kubectl --namespace default wait --for=condition=Ready --timeout=3m runtime/bash runtime/python

cat << END

kruntimes runs in the kind cluster $cluster, which kubectl now talks to. Next:

  kubectl create -f examples/runs/hello.yaml && kubectl get runs --watch
END
