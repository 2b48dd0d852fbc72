"""`python -m runtimed.maintainer` is krt-maintainer."""

from runtimed.maintainer import main

main()
