#!/usr/bin/env bash
# Builds all images.
#
#   k8s/images/build.sh TAG            kruntimes-scheduler:TAG and so on
#
# BUILDER    what builds an image, with its options (default: docker build)
# BASE       the base image (default: that of the Dockerfile)
# REGISTRY   a prefix of the names, with its slash (default: none)
# TARGETS    which of them (default: all)
set -euo pipefail
cd "$(dirname "$0")/../.."

tag=${1:?a tag, for instance 0.1.0; not latest, or nodes go on with the image that they have}
for target in ${TARGETS:-scheduler controller runtimed bash-runtime python-runtime}; do
  ${BUILDER:-docker build} --file k8s/images/Dockerfile --target "$target" ${BASE:+--build-arg BASE="$BASE"} \
    --tag "${REGISTRY:-}kruntimes-$target:$tag" .
done
