"""How long a Run takes from create to its first instruction and to its end, seen by one client with one clock.

`python -m bench` measures and reports; `bench.floor` is what it is measured against, `bench.gate` what must not get worse.
docs/performance.md has the method and the figures.
"""
