#!/usr/bin/env bash
# The two images that nothing can be built without, from Debian's packages, because there is no image registry: what other images
# stand on, and the one that holds a Pod's namespaces. Made once.
set -euo pipefail
. "$(dirname "$0")/settings.sh"

has_image() { buildah images --quiet "$1" > /dev/null 2>&1; }

# NAME FILE: an image of one layer
pack() {
  local context=$images/context
  rm -rf "$context" && mkdir -p "$context"
  mv "$2" "$context/layer.tar"
  printf 'FROM scratch\nADD layer.tar /\n%s\n' "${3:-}" > "$context/Dockerfile"
  buildah build --quiet --isolation chroot --tag "$1" "$context" > /dev/null
  rm -rf "$context"
}

mkdir -p "$images"
if ! has_image "$base_image"; then
  echo "making the base image" >&2
  # shellcheck disable=SC1091
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$images/base.tar"
  pack "$base_image" "$images/base.tar"
fi
if ! has_image "$pause_image"; then
  gcc -Os -static -s -o "$images/pause" "$here/pause.c"
  tar --create --file "$images/pause.tar" --directory "$images" --owner=0 --group=0 pause
  pack "$pause_image" "$images/pause.tar" 'ENTRYPOINT ["/pause"]'
fi
