"""`python -m controlplane.local.apiserver`."""

from controlplane.local.apiserver.main import main

main()
