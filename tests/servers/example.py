"""The example of a custom server, which is a file and no package, as a module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[2] / "examples" / "custom-server" / "server.py"


def load_example() -> Any:
    """Its module."""
    spec = importlib.util.spec_from_file_location("custom_server_example", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
