# The settings of the one-node cluster, and where it keeps its things. Sourced by every script here.
# Each can be set from outside. A second node beside the first needs another folder, name, and other addresses.
: "${KRUNTIMES_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/kruntimes}"
: "${NODE_HOME:=$KRUNTIMES_CACHE/node}"    # images, logs and the state of the cluster
: "${NODE_NAME:=krtnode}"                  # of the node, of its network namespace and of its cgroup
: "${NODE_LINK:=krth0}"                    # this machine's end of the cable to it; at most 15 characters
: "${NODE_ADDRESS:=10.77.0.1}"
: "${NODE_LINK_OUTSIDE:=10.77.1.1}"
: "${NODE_LINK_INSIDE:=10.77.1.2}"
: "${NODE_PODS:=10.244.0.0/24}"
: "${NODE_SERVICES:=10.96.0.0/16}"
: "${NODE_SERVICES_API:=10.96.0.1}"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=$NODE_HOME/state                     # gone with down.sh --purge
images=$NODE_HOME/images                   # kept
socket=$state/containerd.sock
netns=/run/netns/$NODE_NAME
pause_image=docker.io/library/kruntimes-pause:1
base_image=localhost/kruntimes-base:1

export KUBECONFIG=$state/admin.kubeconfig
kubectl() { "$binaries/kubectl" "$@"; }
ctr() { command ctr --address "$socket" --namespace k8s.io "$@"; }
buildah() { command buildah --root "$images/store" --runroot "$images/run" --storage-driver overlay "$@"; }
