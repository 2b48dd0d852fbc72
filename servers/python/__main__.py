"""`python -m servers.python` is `krt-server-python`."""

from servers.python import main

main()
