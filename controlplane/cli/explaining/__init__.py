"""`krt explain`: from a Run and what stands around it to where its time went, what it waited for, and what it cost. Pure.

`explanation` joins the parts, `text` is the form for people. Nothing here asks the API server: the command does.
"""

from controlplane.cli.explaining.explanation import Explanation, explain
from controlplane.cli.explaining.surroundings import Surroundings
from controlplane.cli.explaining.text import render

__all__ = ["Explanation", "Surroundings", "explain", "render"]
