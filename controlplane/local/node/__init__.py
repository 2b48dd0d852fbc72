"""The local node: turns Deployments into Pods, and Pods into process groups on this machine.

It plays the Deployment controller, the scheduler and the kubelet at once, as far as Runtime Pods need them. It is no container
engine: containers share the host's file system and network, and resource limits are not enforced.
"""
