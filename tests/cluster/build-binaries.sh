#!/usr/bin/env bash
# Builds etcd and the programs of Kubernetes from their Go modules into a cache outside the repo, each once per version.
#
#   tests/cluster/build-binaries.sh            etcd, kube-apiserver, kubectl: an API server alone
#   tests/cluster/build-binaries.sh --node     also what makes a node of it: kubelet and the other daemons
#   tests/cluster/build-binaries.sh --helm     helm alone
#   ... --find                                 fails with 3 where one is missing instead of building it
#
# Prints the folder that holds them (stdout); progress is on stderr.
#
# KUBEBUILDER_ASSETS   a folder that already holds etcd, kube-apiserver and kubectl: used as it is, for an API server alone
# KRUNTIMES_CACHE      where to keep them (default: ${XDG_CACHE_HOME:-~/.cache}/kruntimes)
set -euo pipefail

kubernetes=1.36.3
etcd=3.6.13
helm=3.18.6

names=(etcd kube-apiserver kubectl)
version=kubernetes-$kubernetes-etcd-$etcd
only_find=
for argument in "$@"; do
  case $argument in
    --node) names+=(kubelet kube-controller-manager kube-scheduler kube-proxy) ;;
    --helm) names=(helm) version=helm-$helm ;;
    --find) only_find=yes ;;
    *) echo "unknown argument $argument; see the head of $0" >&2; exit 2 ;;
  esac
done

complete() { for name in "${names[@]}"; do [ -x "$1/$name" ] || return 1; done; }

if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ ${#names[@]} -eq 3 ]; then
  complete "$KUBEBUILDER_ASSETS" || { echo "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks one of: ${names[*]}" >&2; exit 1; }
  echo "$KUBEBUILDER_ASSETS"
  exit 0
fi

cache=${KRUNTIMES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kruntimes}/$version
if complete "$cache"; then echo "$cache"; exit 0; fi
if [ -n "$only_find" ]; then echo "not all of these are built: ${names[*]}" >&2; exit 3; fi
command -v go >/dev/null || { echo "the Go toolchain (1.26 or later) is needed to build ${names[*]}; or set KUBEBUILDER_ASSETS" >&2; exit 1; }
mkdir -p "$cache"

# One builder at a time; the second finds the first one's result. Binaries arrive by rename, so a cut build leaves none half-written.
exec 9>"$cache/.lock"
flock 9
build=$(mktemp -d "$cache/.build-XXXXXX")
trap 'rm -rf "$build"' EXIT

# A module of its own in $build; its name is all that it says.
open_module() { mkdir -p "$build/module-$1" && cd "$build/module-$1" && printf 'module build\ngo 1.26\n' > go.mod; }

# PROGRAM PACKAGE LDFLAGS
build_program() {
  echo "building $1" >&2
  go build -o "$build/$1" -ldflags="-s -w $3" "$2" >&2
  mv "$build/$1" "$cache/$1"
}

# PROGRAM...
build_kubernetes() {
  open_module kubernetes
  local staging="api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap
    code-generator component-base component-helpers controller-manager cri-api cri-client cri-streaming csi-translation-lib
    dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy kube-scheduler
    kubectl kubelet metrics mount-utils pod-security-admission sample-apiserver sample-cli-plugin sample-controller streaming"
  for module in $staging; do echo "replace k8s.io/$module => k8s.io/$module v0.${kubernetes#1.}"; done >> go.mod
  local packages=("${@/#/k8s.io/kubernetes/cmd/}")
  # With the version at each: without one `go get` takes the newest.
  go get -tool "${packages[@]/%/@v$kubernetes}" >&2
  # A server built without these flags reports version v0.0.0 and refuses newer kubectl features.
  local report=k8s.io/component-base/version
  for name in "$@"; do
    build_program "$name" "k8s.io/kubernetes/cmd/$name" "-X $report.gitVersion=v$kubernetes -X $report.gitMajor=1 -X $report.gitMinor=36"
  done
}

build_etcd() {
  open_module etcd
  go get -tool "go.etcd.io/etcd/server/v3@v$etcd" >&2
  build_program etcd go.etcd.io/etcd/server/v3 ""
}

build_helm() {
  open_module helm
  go get -tool "helm.sh/helm/v3/cmd/helm@v$helm" >&2
  build_program helm helm.sh/helm/v3/cmd/helm "-X helm.sh/helm/v3/internal/version.version=v$helm"
}

kubernetes_programs=()
for name in "${names[@]}"; do
  [ ! -x "$cache/$name" ] || continue
  case $name in
    etcd) (build_etcd) ;;
    helm) (build_helm) ;;
    *) kubernetes_programs+=("$name") ;;
  esac
done
[ ${#kubernetes_programs[@]} -eq 0 ] || (build_kubernetes "${kubernetes_programs[@]}")
echo "$cache"
