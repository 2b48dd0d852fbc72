"""The embedded Kubernetes API server of local mode: what `kubectl` and our own processes need of one, on SQLite, on loopback.

It is kept honest by tests/contract, which run against it and against a real kube-apiserver. It is also the test double with
faults on demand (`failpoints`). It is not a cluster: one version per kind, no admission webhooks, no RBAC, one token.
"""
