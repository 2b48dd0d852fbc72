#!/usr/bin/env bash
# What the node needs of Debian, installed where it is missing. Their services stay off: the node starts its own.
set -euo pipefail

packages=(containerd runc containernetworking-plugins nftables iptables conntrack ethtool socat iproute2 util-linux
  mmdebstrap buildah crun gcc libc6-dev openssl)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || { echo "missing packages, and only root can install them: ${missing[*]}" >&2; exit 1; }

# A service of its own would be a second containerd on this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' > $policy && chmod +x $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}" > /dev/null
