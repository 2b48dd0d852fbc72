#!/usr/bin/env bash
# A whole Kubernetes of one node, in a network namespace of its own: etcd, API server, controller-manager, scheduler, containerd,
# kubelet, kube-proxy. Safe to repeat: what runs is left alone, what died is started again.
#
#   tests/node/up.sh       returns when the node is Ready; its kubeconfig is $NODE_HOME/state/admin.kubeconfig
#   tests/node/down.sh     ends all of it; --purge forgets its objects too
#
# Wants root, Linux with overlayfs and nftables, and a Go toolchain the first time. NetworkPolicies are accepted and not enforced.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
. "$here/network.sh"
. "$here/daemons.sh"

[ "$(id -u)" = 0 ] || { echo "only root can make a network namespace and start containers" >&2; exit 1; }
"$here/packages.sh"
binaries=$("$here/../cluster/build-binaries.sh" --node)
"$here/base.sh"
mkdir -p "$state"/{run,log,etcd,kubelet,containerd}
"$here/certificates.sh"
"$here/configuration.sh"
network_up

# The kubelet writes sysctls of the whole machine: down.sh puts these back.
[ -f "$state/run/sysctl.saved" ] || sysctl kernel.panic kernel.panic_on_oops vm.overcommit_memory vm.panic_on_oom \
  kernel.keys.root_maxkeys kernel.keys.root_maxbytes | tr -d ' ' > "$state/run/sysctl.saved"

# One cgroup above all Pods, so that down.sh finds every process of them.
for hierarchy in /sys/fs/cgroup/{cpu,cpuacct,cpuset,memory,devices,freezer,blkio,pids,systemd}; do
  [ ! -d "$hierarchy" ] || mkdir -p "$hierarchy/$NODE_NAME"
done
if [ -d /sys/fs/cgroup/cpuset ]; then
  for file in cpuset.cpus cpuset.mems; do cat /sys/fs/cgroup/cpuset/$file > "/sys/fs/cgroup/cpuset/$NODE_NAME/$file"; done
fi
mountpoint --quiet "$state/kubelet" || { mount --bind "$state/kubelet" "$state/kubelet" && mount --make-rshared "$state/kubelet"; }

# NAME FLAGS...: unless it runs
ensure() {
  local name=$1
  shift
  pid_of "$name" > /dev/null || start "$name" "$binaries/$name" "$@"
}

# NAME FLAGS...: a client of the API server that talks with its own kubeconfig
ensure_client() {
  local name=$1 kubeconfig=$state/$1.kubeconfig
  shift
  ensure "$name" --kubeconfig="$kubeconfig" --authentication-kubeconfig="$kubeconfig" --authorization-kubeconfig="$kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false "$@"
}

pid_of containerd > /dev/null || start containerd "$(command -v containerd)" --config "$state/conf/containerd.toml"
ensure etcd --name node --data-dir "$state/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
  --initial-cluster node=http://127.0.0.1:2380 --auto-compaction-retention=1
ensure kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address="$NODE_ADDRESS" --bind-address=0.0.0.0 --secure-port=6443 \
  --service-cluster-ip-range="$NODE_SERVICES" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
  --client-ca-file="$state/pki/ca.crt" --tls-cert-file="$state/pki/apiserver.crt" --tls-private-key-file="$state/pki/apiserver.key" \
  --kubelet-client-certificate="$state/pki/apiserver-to-kubelet.crt" --kubelet-client-key="$state/pki/apiserver-to-kubelet.key" \
  --kubelet-certificate-authority="$state/pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file="$state/pki/service-accounts.pub" \
  --service-account-signing-key-file="$state/pki/service-accounts.key" --allow-privileged=true --profiling=false
wait_for 60 kubectl get --raw /readyz

ensure_client kube-controller-manager --use-service-account-credentials=true --root-ca-file="$state/pki/ca.crt" \
  --service-account-private-key-file="$state/pki/service-accounts.key" --cluster-signing-cert-file="$state/pki/ca.crt" \
  --cluster-signing-key-file="$state/pki/ca.key" --flex-volume-plugin-dir="$state/kubelet/volume-plugins"
ensure_client kube-scheduler

wait_for 30 ctr version
if ! ctr images ls --quiet | grep --quiet --line-regexp "$pause_image"; then
  rm -f "$images/pause-image.tar"
  buildah push --quiet "$pause_image" "docker-archive:$images/pause-image.tar:$pause_image"
  ctr images import "$images/pause-image.tar" > /dev/null
fi
ensure kubelet --config="$state/conf/kubelet.yaml" --kubeconfig="$state/kubelet.kubeconfig" --root-dir="$state/kubelet" \
  --cert-dir="$state/kubelet/pki" --hostname-override="$NODE_NAME" --node-ip="$NODE_ADDRESS"
ensure kube-proxy --config="$state/conf/kube-proxy.yaml"

# For logs, exec and port-forward.
kubectl get clusterrolebinding apiserver-to-kubelet > /dev/null 2>&1 \
  || kubectl create clusterrolebinding apiserver-to-kubelet --clusterrole=system:kubelet-api-admin --user=apiserver-to-kubelet > /dev/null
wait_for 60 kubectl get node "$NODE_NAME"
kubectl wait --for=condition=Ready "node/$NODE_NAME" --timeout=90s > /dev/null
wait_for 30 kubectl --namespace default get serviceaccount default
echo "$KUBECONFIG"
