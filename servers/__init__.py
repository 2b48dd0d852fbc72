"""Runtime Servers: what runs user code beside runtimed. Never imports a Kubernetes client, nor the control plane, nor runtimed."""
