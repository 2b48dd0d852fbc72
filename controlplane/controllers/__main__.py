"""`python -m controlplane.controllers` is krt-controller."""

from controlplane.controllers import main

main()
