from __future__ import annotations

import pytest

from bench.report.docs import MarksMissing, replace_marked

PAGE = "before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n"


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    assert replace_marked(PAGE, "new\n", name="bench") == "before\n<!-- bench: begin -->\nnew\n<!-- bench: end -->\nafter\n"


def test_twice_is_as_good_as_once() -> None:
    once = replace_marked(PAGE, "new", name="bench")
    assert replace_marked(once, "new", name="bench") == once


@pytest.mark.parametrize("page", ["nothing", "<!-- bench: begin --> and no end", "<!-- proof: begin --><!-- proof: end -->"])
def test_a_page_without_a_place_says_so(page: str) -> None:
    with pytest.raises(MarksMissing, match="bench: begin"):
        replace_marked(page, "new", name="bench")
