#!/usr/bin/env bash
# Ends what up.sh started and what the kubelet started for it, and nothing else; leaves no process, mount, cgroup, link or sysctl.
#
#   tests/node/down.sh           keeps objects and images: up.sh goes on with them
#   tests/node/down.sh --purge   forgets the cluster; built images stay
set -uo pipefail
. "$(dirname "$0")/settings.sh"
. "$here/network.sh"
. "$here/daemons.sh"

end_containers() {
  for task in $(ctr tasks ls --quiet); do ctr tasks kill --signal KILL "$task"; done
  for _ in $(seq 50); do ctr tasks ls | grep --quiet RUNNING || break; sleep 0.1; done
  for task in $(ctr tasks ls --quiet); do ctr tasks rm --force "$task"; done
  for container in $(ctr containers ls --quiet); do ctr containers rm "$container"; done
}

# Where containerd had died before: its shims carry our socket, and the processes of Pods sit in our cgroup.
end_orphans() {
  for process in /proc/[0-9]*; do
    case "$(readlink "$process/exe")" in */containerd-shim-runc-v2) ;; *) continue ;; esac
    ! tr '\0' ' ' < "$process/cmdline" 2> /dev/null | grep --quiet -- "-address $socket " || kill -KILL "${process#/proc/}"
  done
  find "/sys/fs/cgroup/memory/$NODE_NAME" -name cgroup.procs -exec cat {} + 2> /dev/null | xargs --no-run-if-empty kill -KILL 2> /dev/null
  sleep 0.2
}

for daemon in kubelet kube-proxy kube-scheduler kube-controller-manager; do stop $daemon; done
! pid_of containerd > /dev/null || end_containers > /dev/null 2>&1
for daemon in kube-apiserver etcd containerd; do stop $daemon; done
end_orphans

awk '{print $2}' /proc/mounts | grep "^$state/" | sort --reverse | while read -r mount; do umount "$mount" 2> /dev/null || umount --lazy "$mount"; done
for hierarchy in /sys/fs/cgroup/*/; do
  [ ! -d "$hierarchy$NODE_NAME" ] || find "$hierarchy$NODE_NAME" -depth -type d -exec rmdir {} \; 2> /dev/null
done
[ ! -f "$state/run/sysctl.saved" ] || { sysctl --quiet --load="$state/run/sysctl.saved" && rm "$state/run/sysctl.saved"; }
network_down
find /var/log/containers -lname "$state/*" -delete 2> /dev/null
rm -rf "$state/kubelet/pods" "$state/addresses" "$state/log/pods" "$socket"
[ "${1:-}" != --purge ] || rm -rf "$state"
exit 0
