#!/usr/bin/env bash
# Prints what makes a shell talk to the node: eval "$(tests/node/access.sh)", then kubectl and krt find it.
set -euo pipefail
. "$(dirname "$0")/settings.sh"

[ -S "$socket" ] || { echo "the node is not up: make node-up" >&2; exit 1; }
binaries=$("$here/../cluster/build-binaries.sh" --node --find)
tag=$(cat "$state/tag" 2> /dev/null || true)
printf 'export KUBECONFIG=%q PATH=%q:$PATH E2E_TAG=%q E2E_OTHER_TAG=%q\n' "$KUBECONFIG" "$binaries" "$tag" "$tag-again"
