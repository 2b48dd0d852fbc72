"""`python -m servers.bash` is `krt-server-bash`."""

from servers.bash import main

main()
