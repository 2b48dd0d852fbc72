"""API servers for tests and benchmarks: a real kube-apiserver with etcd, and the embedded one, behind the same few verbs."""
