#!/usr/bin/env bash
# Builds our images from their Dockerfile on the Debian base, and loads them into the node where it is up. Prints their tag: a
# digest of what they are made of, so that a changed tree never meets an old image of the same name; an unchanged one builds nothing.
set -euo pipefail
. "$(dirname "$0")/settings.sh"

cd "$here/../.."
targets=(scheduler controller runtimed bash-runtime python-runtime)
tag=$({ echo "$base_image"; find constraints.txt pyproject.toml README.md LICENSE proto k8s servers runtimed controlplane \
  -type f -not -path '*/__pycache__/*' -not -path 'k8s/deploy/*' -print0 | sort -z | xargs -0 sha256sum; } | sha256sum | cut -c1-12)
archive=$images/kruntimes-$tag.tar

build() {
  local layout=$images/layout lent=()
  # The build reaches package registries in the way in which this machine does.
  for path in /etc/ssl/certs /etc/pip.conf; do [ ! -e "$path" ] || lent+=(--volume "$path:$path:ro"); done
  BUILDER="buildah --root $images/store --runroot $images/run --storage-driver overlay build --layers --quiet --isolation chroot ${lent[*]}" \
    BASE=$base_image REGISTRY=localhost/ k8s/images/build.sh "$tag" >&2
  rm -rf "$layout" "$images"/kruntimes-*.tar
  for target in "${targets[@]}"; do
    buildah push --quiet --disable-compression "localhost/kruntimes-$target:$tag" "oci:$layout:docker.io/library/kruntimes-$target:$tag"
  done
  tar --create --file "$archive.part" --directory "$layout" .
  rm -rf "$layout"
  mv "$archive.part" "$archive"
}

"$here/base.sh"
[ -f "$archive" ] || build
if [ -S "$socket" ]; then
  if [ "$(ctr images ls --quiet | grep -c "/kruntimes-.*:$tag$")" -ne ${#targets[@]} ]; then
    ctr images import "$archive" >&2
    # The same under a second name, for tests of upgrades.
    for target in "${targets[@]}"; do
      ctr images tag --force "docker.io/library/kruntimes-$target:"{"$tag","$tag-again"} > /dev/null
    done
  fi
fi
echo "$tag"
