"""What a Run with a handler executes: `python call_handler.py module.function ARG…`. Runs in the child, not in the server.

Imports the module with the working directory on sys.path, calls the function with {"args": [...]} and prints the JSON of what
it returns, unless that is None. Errors are the child's own: a traceback and exit code 1. Standard library only, any Python 3.
"""

import importlib
import json
import os
import sys


def main() -> None:
    # The interpreter put this file's folder first, unless PYTHONSAFEPATH is set; user code must not see it.
    if sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
        del sys.path[0]
    sys.path.insert(0, os.getcwd())
    handler, args = sys.argv[1], sys.argv[2:]
    module_name, _, function_name = handler.rpartition(".")
    sys.argv = [handler, *args]
    function = getattr(importlib.import_module(module_name), function_name)
    result = function({"args": args})
    if result is not None:
        sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
