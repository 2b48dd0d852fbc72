"""`python -m controlplane.scheduler` is krt-scheduler."""

from controlplane.scheduler import main

main()
