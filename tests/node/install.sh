#!/usr/bin/env bash
# Installs the platform on the node with the images of this tree, and prints their tag. Safe to repeat.
#
#   tests/node/install.sh              by kustomize
#   tests/node/install.sh helm         by the chart
set -euo pipefail
. "$(dirname "$0")/settings.sh"
binaries=$("$here/../cluster/build-binaries.sh" --node --find)
deploy=$(realpath "$here/../../k8s/deploy")
tag=$("$here/images.sh")

by_kustomize() {
  local overlay=$state/install base
  mkdir -p "$overlay"
  base=$(realpath --relative-to="$overlay" "$deploy/base")
  cat > "$overlay/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [$base]
components: [$(dirname "$base")/components/untracked-runs]
images: [{name: kruntimes-scheduler, newTag: $tag}, {name: kruntimes-controller, newTag: $tag}]
configMapGenerator: [{name: kruntimes-images, behavior: merge, literals: ["runtimed=kruntimes-runtimed:$tag", "maintainer=kruntimes-controller:$tag"]}]
END
  kubectl apply --server-side --force-conflicts -k "$overlay" > /dev/null
}

by_helm() {
  local helm
  helm=$("$here/../cluster/build-binaries.sh" --helm)/helm
  kubectl apply --server-side -f "$deploy/base/namespace.yaml" > /dev/null
  "$helm" upgrade --install kruntimes "$deploy/charts/kruntimes" --namespace kruntimes-system --wait --timeout 2m \
    --set scheduler.image="kruntimes-scheduler:$tag,controller.image=kruntimes-controller:$tag,runtimed.image=kruntimes-runtimed:$tag" > /dev/null
}

case ${1:-kustomize} in
  kustomize) by_kustomize ;;
  helm) by_helm ;;
  *) echo "install by kustomize or by helm, not by $1" >&2; exit 2 ;;
esac
kubectl wait --for=condition=Established --timeout=30s crd/runs.kruntimes.io crd/runtimes.kruntimes.io > /dev/null
for component in scheduler controller; do
  kubectl --namespace kruntimes-system rollout status --timeout=120s "deployment/kruntimes-$component" >&2
done
echo "$tag" | tee "$state/tag"
