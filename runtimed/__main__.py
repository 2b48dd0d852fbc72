"""`python -m runtimed`."""

from runtimed import main

main()
