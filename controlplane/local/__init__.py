"""Local mode: the whole system on one Linux machine without Kubernetes. Never part of a production image."""
