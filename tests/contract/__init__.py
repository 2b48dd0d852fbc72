"""The contract of an API server, as we depend on it: the same cases on a real kube-apiserver and on the embedded server.

The real one is right by definition. A case that holds only there is a bug of the embedded one.
"""
