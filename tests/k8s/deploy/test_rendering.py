"""What is installed: the same by kustomize and by Helm, with flags that the programs know, and admitted by a real API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import controlplane.controllers
import controlplane.scheduler
from controlplane.controllers.runtime_access import ROLE_RULES
from tests.cluster.fixtures import real_server as real_server
from tests.cluster.kubectl import Kubectl
from tests.cluster.real import RealApiServer
from tests.k8s.deploy.rendering import NAMESPACE, Json, by_kind, charted, kustomized

pytestmark = [pytest.mark.kube, pytest.mark.slow]

PROGRAMS: dict[str, click.Command] = {
    "kruntimes-scheduler": controlplane.scheduler.main,
    "kruntimes-controller": controlplane.controllers.main,
}
OF_THE_INSTALLER = {f"app.kubernetes.io/{name}" for name in ("instance", "managed-by", "part-of", "version")} | {"helm.sh/resource-policy"}
SHARED_KINDS = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "PodDisruptionBudget", "Service"]


def flags_of(deployment: Json) -> dict[str, Any]:
    """As the program itself reads them. Raises click's errors."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    parsed = PROGRAMS[deployment["metadata"]["name"]].make_context("program", list(container["args"]))
    return dict(parsed.params)


def without_the_installer(made: Any) -> Any:
    """Less the labels and annotations that say who installed it."""
    if isinstance(made, dict):
        kept = {key: without_the_installer(value) for key, value in made.items() if key not in OF_THE_INSTALLER}
        return {key: value for key, value in kept.items() if not (key in ("labels", "annotations") and not value)}
    return [without_the_installer(item) for item in made] if isinstance(made, list) else made


@pytest.mark.parametrize("objects", [lambda: kustomized("base"), lambda: charted("kruntimes")], ids=["kustomize", "helm"])
def test_every_flag_is_one_that_the_program_knows(objects: Any) -> None:
    deployments = by_kind(objects(), "Deployment")
    assert set(deployments) == set(PROGRAMS)
    assert all(flags_of(deployment)["leader_elect"] for deployment in deployments.values())


def test_kustomize_and_helm_start_the_same_programs() -> None:
    ours, theirs = kustomized("base"), charted("kruntimes")
    (images,) = by_kind(ours, "ConfigMap").values()
    for name, deployment in by_kind(ours, "Deployment").items():
        other = by_kind(theirs, "Deployment")[name]
        flags, other_flags = flags_of(deployment), flags_of(other)
        named = {"$(RUNTIMED_IMAGE)": images["data"]["runtimed"], "$(MAINTAINER_IMAGE)": images["data"]["maintainer"]}
        assert {flag: named.get(str(value), value) for flag, value in flags.items()} == other_flags
        for each in (deployment, other):
            container = each["spec"]["template"]["spec"]["containers"][0]
            del container["args"]
            container["env"] = [variable for variable in container["env"] if variable["name"] == "POD_NAMESPACE"]
        assert without_the_installer(deployment) == without_the_installer(other)


@pytest.mark.parametrize("kind", [*SHARED_KINDS, "CustomResourceDefinition"])
def test_kustomize_and_helm_make_the_same_objects(kind: str) -> None:
    ours, theirs = (without_the_installer(by_kind(objects, kind)) for objects in (kustomized("base"), charted("kruntimes")))
    assert ours == theirs
    assert ours


def test_helm_keeps_the_kinds_when_the_platform_goes() -> None:
    definitions = by_kind(charted("kruntimes"), "CustomResourceDefinition")
    assert {name: made["metadata"]["annotations"]["helm.sh/resource-policy"] for name, made in definitions.items()} == {
        "runs.kruntimes.io": "keep",
        "runtimes.kruntimes.io": "keep",
    }


def test_kustomize_and_helm_make_the_same_runtimes() -> None:
    ours, theirs = by_kind(kustomized("runtimes"), "Runtime"), by_kind(charted("kruntimes-runtimes"), "Runtime")
    assert {name: made["spec"] for name, made in ours.items()} == {name: made["spec"] for name, made in theirs.items()}
    assert set(ours) == {"bash", "python"}


def test_a_release_of_another_name_has_names_of_its_own() -> None:
    names = set(by_kind(charted("kruntimes", release="blue"), "Deployment"))
    assert names == {"blue-kruntimes-scheduler", "blue-kruntimes-controller"}


def test_what_runtimes_may_is_a_value_of_the_chart() -> None:
    values = (
        "--set=runtimed.memoryLimit=1Gi",
        "--set=runtimes.metricsIngress=true",
        "--set=runtimes.egressCidrs={10.0.0.0/8,192.168.1.1/32}",
    )
    both = (charted("kruntimes"), charted("kruntimes", *values))
    plain, changed = (flags_of(by_kind(objects, "Deployment")["kruntimes-controller"]) for objects in both)
    names = ("runtimed_memory_limit", "runtime_metrics_ingress", "runtime_egress_cidrs")
    assert [str(plain[name]) for name in names[:2]] == ["256Mi", "False"]
    assert not plain[names[2]]
    assert [str(changed[name]) for name in names[:2]] == ["1Gi", "True"]
    assert len(changed[names[2]]) == 2


def test_images_may_come_from_a_registry_and_keep_a_tag_of_their_own() -> None:
    flags = ("--set=global.imageRegistry=host:5000/team/", "--set=runtimed.image=kruntimes-runtimed:9")
    controller = by_kind(charted("kruntimes", *flags), "Deployment")["kruntimes-controller"]
    assert controller["spec"]["template"]["spec"]["containers"][0]["image"] == "host:5000/team/kruntimes-controller:0.1.0"
    assert flags_of(controller)["default_daemon_image"] == "host:5000/team/kruntimes-runtimed:9"


def test_production_names_its_images_everywhere() -> None:
    objects = kustomized("overlays/production")
    images = [made["spec"]["template"]["spec"]["containers"][0]["image"] for made in by_kind(objects, "Deployment").values()]
    (others,) = by_kind(objects, "ConfigMap").values()
    assert all(image.startswith("registry.example.com/") for image in [*images, *others["data"].values()])
    assert by_kind(objects, "ServiceMonitor")


def test_the_controllers_may_do_what_they_grant_to_runtimed() -> None:
    """Or the API server would refuse the Role."""
    rules = by_kind(kustomized("base"), "ClusterRole")["kruntimes-controller"]["rules"]
    held = {
        (group, resource, verb) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    granted = {
        (group, resource, verb)
        for rule in ROLE_RULES
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted <= held


@pytest.mark.parametrize("way", ["kustomize", "kind", "helm"])
def test_a_real_api_server_admits_all_of_it_without_a_warning(real_server: RealApiServer, tmp_path: Path, way: str) -> None:
    kubectl = Kubectl(real_server, folder=tmp_path)
    objects = {
        "kustomize": lambda: [*kustomized("base"), *kustomized("runtimes")],
        "kind": lambda: kustomized("overlays/kind"),
        "helm": lambda: [_namespace(), *charted("kruntimes", release="blue"), *charted("kruntimes-runtimes")],
    }[way]()
    for made in objects:
        if made["kind"] != "Namespace" and "namespace" in made["metadata"]:
            made["metadata"]["namespace"] = NAMESPACE
    kubectl.namespace = NAMESPACE
    # The namespace refuses, or here warns of, Pods that are not restricted.
    kubectl.ok("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(objects))
    assert "restricted" in kubectl.ok("get", "namespace", NAMESPACE, "-o", "yaml")


def _namespace() -> Json:
    return next(made for made in kustomized("base") if made["kind"] == "Namespace")


def test_pull_secrets_reach_the_platform_and_the_maintainer() -> None:
    flags = ("--set=imagePullSecrets[0].name=one", "--set=imagePullSecrets[1].name=two")
    controller = by_kind(charted("kruntimes", *flags), "Deployment")["kruntimes-controller"]
    assert controller["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
    assert flags_of(controller)["runtime_maintainer_image_pull_secrets"] == "one,two"
