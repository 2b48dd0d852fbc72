#!/usr/bin/env bash
# Builds etcd, kube-apiserver and kubectl from their Go modules into a cache outside the repo, once per version.
#
#   tests/cluster/build-binaries.sh            prints the folder that holds the three binaries (stdout), progress on stderr
#   tests/cluster/build-binaries.sh --find     the same, but fails where they are missing instead of building them
#
# KUBEBUILDER_ASSETS   a folder that already holds the three binaries: used as it is, nothing is built
# KRUNTIMES_CACHE      where to keep them (default: ${XDG_CACHE_HOME:-~/.cache}/kruntimes)
set -euo pipefail

kubernetes=1.36.3
etcd=3.6.13
names=(etcd kube-apiserver kubectl)

complete() { for name in "${names[@]}"; do [ -x "$1/$name" ] || return 1; done; }

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  complete "$KUBEBUILDER_ASSETS" || { echo "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks one of: ${names[*]}" >&2; exit 1; }
  echo "$KUBEBUILDER_ASSETS"
  exit 0
fi

cache=${KRUNTIMES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kruntimes}/kubernetes-$kubernetes-etcd-$etcd
if complete "$cache"; then echo "$cache"; exit 0; fi
if [ "${1:-}" = --find ]; then echo "etcd, kube-apiserver and kubectl are not built" >&2; exit 3; fi
command -v go >/dev/null || { echo "the Go toolchain (1.26 or later) is needed to build kube-apiserver; or set KUBEBUILDER_ASSETS" >&2; exit 1; }
mkdir -p "$cache"

# One builder at a time; the second finds the first one's result. Binaries arrive by rename, so a cut build leaves none half-written.
exec 9>"$cache/.lock"
flock 9
if complete "$cache"; then echo "$cache"; exit 0; fi
build=$(mktemp -d "$cache/.build-XXXXXX")
trap 'rm -rf "$build"' EXIT

build_kubernetes() {
  mkdir -p "$build/kubernetes" && cd "$build/kubernetes"
  local staging="api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap
    code-generator component-base component-helpers controller-manager cri-api cri-client cri-streaming csi-translation-lib
    dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy kube-scheduler
    kubectl kubelet metrics mount-utils pod-security-admission sample-apiserver sample-cli-plugin sample-controller streaming"
  { printf 'module build\ngo 1.26\n'
    for module in $staging; do echo "replace k8s.io/$module => k8s.io/$module v0.${kubernetes#1.}"; done; } > go.mod
  go get -tool "k8s.io/kubernetes/cmd/kube-apiserver@v$kubernetes" "k8s.io/kubernetes/cmd/kubectl@v$kubernetes" >&2
  # A server built without these flags reports version v0.0.0 and refuses newer kubectl features.
  local version="-s -w -X k8s.io/component-base/version.gitVersion=v$kubernetes -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
  for name in kube-apiserver kubectl; do
    echo "building $name $kubernetes" >&2
    go build -o "$build/$name" -ldflags="$version" "k8s.io/kubernetes/cmd/$name" >&2
    mv "$build/$name" "$cache/$name"
  done
}

build_etcd() {
  mkdir -p "$build/etcd-module" && cd "$build/etcd-module"
  printf 'module build\ngo 1.26\n' > go.mod
  echo "building etcd $etcd" >&2
  go get -tool "go.etcd.io/etcd/server/v3@v$etcd" >&2
  go build -o "$build/etcd" -ldflags="-s -w" go.etcd.io/etcd/server/v3 >&2
  mv "$build/etcd" "$cache/etcd"
}

(build_kubernetes)
(build_etcd)
echo "$cache"
