# Starting and ending the daemons of the node, by pid and never by name alone. Sourced; needs settings.sh.

# NAME COMMAND...: in the node's network, in the background, its output in a log.
# nsenter and not `ip netns exec`, which would mount a /sys without cgroups.
start() {
  local name=$1
  shift
  setsid bash -c 'echo $$ > "$1"; shift; exec nsenter --net="$0" "$@"' "$netns" "$state/run/$name.pid" "$@" \
    > "$state/log/$name.log" 2>&1 < /dev/null &
}

# NAME: prints its pid if that is still the program that we started: by its command line, and by its network. A zombie has neither.
pid_of() {
  local pid
  pid=$(cat "$state/run/$1.pid" 2> /dev/null) || return 1
  tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep --quiet -- "$1" || return 1
  [ "$(readlink "/proc/$pid/ns/net")" = "$(stat --dereference --format='net:[%i]' "$netns" 2> /dev/null)" ] || return 1
  echo "$pid"
}

# NAME: asks it to end, and after ten seconds ends it.
stop() {
  local pid
  if pid=$(pid_of "$1"); then
    kill "$pid"
    for _ in $(seq 100); do pid_of "$1" > /dev/null || break; sleep 0.1; done
    ! pid_of "$1" > /dev/null || kill -KILL "$pid"
  fi
  rm -f "$state/run/$1.pid"
}

# SECONDS COMMAND...: until it succeeds
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" > /dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "not in time: $*; see $state/log" >&2; return 1; }
    sleep 0.1
  done
}
