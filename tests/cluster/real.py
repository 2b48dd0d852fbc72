"""A real kube-apiserver with its etcd, on loopback: TLS, RBAC, our CRDs, ready in seconds.

No controller-manager and no kubelet run beside it: nothing collects owned objects, nothing starts Pods, and a deleted namespace
stays in Terminating. etcd syncs every write to disk, as in production.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tests.cluster.access import Access, write_kubeconfig
from tests.cluster.binaries import binaries_folder
from tests.cluster.certificates import make_certificates
from tests.cluster.processes import Child, ServerFailed, free_ports

START_SECONDS = 60.0
"""It takes about four; a machine that is busy with other tests takes longer."""
CRDS = Path(__file__).parents[2] / "k8s" / "crds"
_DEPLOY = CRDS.parent / "deploy"
_RIGHTS = [*sorted((_DEPLOY / "base").glob("*-roles.yaml")), Path(__file__).with_name("rbac.yaml")]
"""As they are installed, and who has them here."""
UNTRACKED_RUNS = _DEPLOY / "components" / "untracked-runs" / "untracked-runs.yaml"
_AUDIT_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: RequestResponse
  verbs: [create, update, patch, delete]
  resources: [{group: kruntimes.io, resources: [runs, runs/status]}, {group: coordination.k8s.io, resources: [leases]}]
- level: None
"""
_USERS = {"admin": "system:masters", "kruntimes-scheduler": "", "kruntimes-controller": "", "kruntimes-runtimed": ""}
_PATHS = {
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
    "MutatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
}
_NO_RUN = {
    "apiVersion": "kruntimes.io/v1alpha1",
    "kind": "Run",
    "metadata": {"name": "none"},
    "spec": {"runtime": "none", "mode": {"task": {}}},
}


class RealApiServer:
    """etcd and kube-apiserver as children of this process. Use as a context manager, or start and stop it."""

    name = "real"

    def __init__(
        self,
        *,
        folder: Path | None = None,
        is_audited: bool = False,
        audit_policy: str = _AUDIT_POLICY,
        has_untracked_runs: bool = False,
    ) -> None:
        """`is_audited`: every write, with what it stood on and what came of it, in `audit.jsonl` of the folder.

        `has_untracked_runs`: with the policy of that name, as the chart installs it.
        """
        self._has_untracked_runs = has_untracked_runs
        self._is_audited = is_audited
        self._audit_policy = audit_policy
        self._is_own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="kruntimes-kube-"))
        self._etcd_port, self._peer_port, self._port = 0, 0, 0
        self._etcd: Child | None = None
        self._apiserver: Child | None = None
        self._tokens = {user: secrets.token_hex(16) for user in _USERS}

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def admin(self) -> Access:
        return self.access("admin")

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.kubeconfig_of("admin")

    @property
    def processes(self) -> dict[str, int]:
        """Pid by program, for those who measure CPU time."""
        return {child.name: child.pid for child in (self._etcd, self._apiserver) if child is not None}

    def access(self, user: str) -> Access:
        """Credentials of `admin`, `kruntimes-scheduler`, `kruntimes-controller` or `kruntimes-runtimed`."""
        return Access(url=self.url, token=self._tokens[user], authority=(self.folder / "ca.crt").read_text())

    def kubeconfig_of(self, user: str) -> Path:
        return self.folder / f"{user}.kubeconfig"

    def start(self) -> None:
        """Returns when it is ready and serves our CRDs. Stops everything again when it cannot be."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "ca.crt").exists():
                self._prepare()
            self._start_etcd()
            self._start_apiserver()
            self._install(*_RIGHTS, *sorted(CRDS.glob("*.yaml")))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends both by pid and removes the folder if it was our own."""
        for child in (self._apiserver, self._etcd):
            if child is not None:
                child.stop()
        self._apiserver = self._etcd = None
        if self._is_own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def restart(self, *, kill: bool = False) -> None:
        """kube-apiserver ends (at once with `kill`) and comes back at the same address with the same objects."""
        assert self._apiserver is not None
        self._apiserver.stop(kill=kill)
        self._start_apiserver()

    def restart_etcd(self, *, kill: bool = False) -> None:
        """etcd ends and comes back with the same data; kube-apiserver finds it again by itself."""
        assert self._etcd is not None
        self._etcd.stop(kill=kill)
        self._start_etcd()

    def compact(self) -> None:
        """Makes etcd forget all revisions but the newest, as its own schedule would after five minutes."""
        revision = self._etcd_call("/v3/kv/range", {"key": "AA=="})["header"]["revision"]
        self._etcd_call("/v3/kv/compaction", {"revision": revision, "physical": True})

    def bind_runtimed(self, namespace: str) -> None:
        """Gives the runtimed user its rights in one more namespace (it has them in `default`)."""
        binding = {
            "metadata": {"name": "kruntimes-runtimed"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kruntimes-runtimed"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kruntimes-runtimed"}],
        }
        self._create(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", binding)

    def __enter__(self) -> RealApiServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def _prepare(self) -> None:
        make_certificates(self.folder)
        self._etcd_port, self._peer_port, self._port = free_ports(3)
        rows = [f'{self._tokens[user]},{user},{user},"{group}"' for user, group in _USERS.items()]
        tokens = self.folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text("\n".join(rows) + "\n")
        for user in _USERS:
            write_kubeconfig(self.kubeconfig_of(user), access=self.access(user), user=user)

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self._etcd = Child(
            [str(binaries_folder() / "etcd"), "--name=test", f"--data-dir={self.folder / 'etcd'}",
             f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
             f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=test={peer}"],
            log=self.folder / "etcd.log",
        )  # fmt: skip
        _wait_until(lambda: bool(self._etcd_call("/v3/kv/range", {"key": "AA=="})), child=self._etcd)

    def _start_apiserver(self) -> None:
        self._apiserver = Child(
            [str(binaries_folder() / "kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
             "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={self._port}",
             "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16",
             "--authorization-mode=RBAC", f"--token-auth-file={self.folder / 'tokens.csv'}",
             f"--tls-cert-file={self.folder / 'server.crt'}", f"--tls-private-key-file={self.folder / 'server.key'}",
             f"--cert-dir={self.folder / 'certificates'}", "--service-account-issuer=https://kubernetes.default.svc",
             f"--service-account-key-file={self.folder / 'sa.pub'}",
             f"--service-account-signing-key-file={self.folder / 'sa.key'}",
             # Without a controller-manager no namespace has a default ServiceAccount, and no Pod would be admitted.
             "--disable-admission-plugins=ServiceAccount", "--profiling=false", *self._audit_flags()],
            log=self.folder / "kube-apiserver.log",
        )  # fmt: skip
        _wait_until(lambda: self._get("/readyz") == b"ok", child=self._apiserver)

    def _audit_flags(self) -> list[str]:
        if not self._is_audited:
            return []
        policy = self.folder / "audit-policy.yaml"
        policy.write_text(self._audit_policy)
        # Each line is written before its request is answered, as the embedded server does it.
        # One file, whatever its size: whoever reads it on as it grows would lose what another one takes over.
        file = [f"--audit-log-path={self.folder / 'audit.jsonl'}", "--audit-log-maxsize=1000000"]
        return [f"--audit-policy-file={policy}", *file, "--audit-log-mode=blocking-strict"]

    def _install(self, *manifests: Path) -> None:
        assert self._apiserver is not None
        for manifest in manifests:
            for document in yaml.safe_load_all(manifest.read_text()):
                self._create(_PATHS[document["kind"]], document)
        self.bind_runtimed("default")
        for plural in ("runs", "runtimes"):
            path = f"/apis/kruntimes.io/v1alpha1/{plural}?limit=1"
            _wait_until(lambda path=path: bool(self._get(path)), child=self._apiserver)
        # Schemas are published a moment later than the kinds are served; kubectl validates and explains with them.
        _wait_until(lambda: b"apis/kruntimes.io/v1alpha1" in self._get("/openapi/v3"), child=self._apiserver)
        if self._has_untracked_runs:
            for document in yaml.safe_load_all(UNTRACKED_RUNS.read_text()):
                self._create(_PATHS[document["kind"]], document)
            _wait_until(self._leaves_runs_untracked, child=self._apiserver)

    def _leaves_runs_untracked(self) -> bool:
        """Until it has read the policy and the schema of Runs it notes who wrote them, and then refuses them for some seconds."""
        return (
            "managedFields"
            not in json.loads(self._post("/apis/kruntimes.io/v1alpha1/namespaces/default/runs?dryRun=All", _NO_RUN))["metadata"]
        )

    def _get(self, path: str) -> bytes:
        return self._call(urllib.request.Request(self.url + path, headers=self.admin.headers))

    def _post(self, path: str, body: Any) -> bytes:
        headers = self.admin.headers | {"Content-Type": "application/json"}
        return self._call(urllib.request.Request(self.url + path, data=json.dumps(body).encode(), headers=headers, method="POST"))

    def _create(self, path: str, body: Any) -> None:
        try:
            self._post(path, body)
        except urllib.error.HTTPError as error:
            if error.code != 409:  # there already, after a start on a kept folder
                raise ServerFailed(f"{path}: {error.read().decode()}") from error

    def _call(self, request: urllib.request.Request) -> bytes:
        with urllib.request.urlopen(request, context=self.admin.tls(), timeout=10) as answer:
            body: bytes = answer.read()
            return body

    def _etcd_call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self._etcd_port}{path}", data=json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            result: dict[str, Any] = json.load(answer)
            return result


def _wait_until(is_ready: Any, *, child: Child) -> None:
    """Programs of others that tell nobody when they are ready: asked every 50 ms, with a deadline, while they live."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        child.check()
        try:
            if is_ready():
                return
        except OSError:  # refused, or not ready yet (urllib's errors are OSErrors)
            pass
        if time.monotonic() > deadline:
            raise ServerFailed(f"{child.name} was not ready after {START_SECONDS:.0f} s:\n{child.log_tail()}")
        time.sleep(0.05)
