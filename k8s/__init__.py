"""Everything Kubernetes that both planes stand on: the API's meaning, the client, the process life cycle, the manifests."""
