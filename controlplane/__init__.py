"""The control plane: scheduler, controllers, the krt command, and local mode."""
