# The network of the node: a namespace with a node address, and one cable to this machine. Sourced; needs settings.sh.
# From here Pods, Services and the API server can be reached; nothing in there can open a connection to the outside.

inside() { nsenter --net="$netns" "$@"; }

network_up() {
  [ ! -e "$netns" ] || return 0
  ip netns add "$NODE_NAME"
  inside sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 net.ipv4.ip_forward=1
  inside ip link set lo up
  # A bridge without ports holds the address: not every kernel has the dummy device.
  inside ip link add node0 type bridge
  inside ip address add "$NODE_ADDRESS/24" dev node0
  inside ip link set node0 up
  inside ip route add default dev node0
  ip link add "$NODE_LINK" type veth peer name outside0 netns "$NODE_NAME"
  ip address add "$NODE_LINK_OUTSIDE/30" dev "$NODE_LINK"
  ip link set "$NODE_LINK" up
  inside ip address add "$NODE_LINK_INSIDE/30" dev outside0
  inside ip link set outside0 up
  for range in "${NODE_ADDRESS%.*}.0/24" "$NODE_PODS" "$NODE_SERVICES"; do ip route add "$range" via "$NODE_LINK_INSIDE"; done
  inside nft -f - <<'END'
table inet only_answers_leave {
  chain from_node { type filter hook output priority 0; oifname "outside0" ct state != { established, related } drop; }
  chain from_pods { type filter hook forward priority 0; oifname "outside0" ct state != { established, related } drop; }
}
END
}

network_down() {
  ip link delete "$NODE_LINK" 2> /dev/null || true # its routes go with it
  [ ! -e "$netns" ] || ip netns delete "$NODE_NAME"
}
