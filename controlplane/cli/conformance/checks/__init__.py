"""The checks, one function each, in modules by what they are about. `catalogue` finds them by this list, in its order."""

MODULES = ("executing", "requests", "output", "stopping", "ids", "load", "session", "attempts")
