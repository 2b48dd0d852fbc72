from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimed.hooks.outputs import MAX_FILE_BYTES, OutputsError, parse_outputs, read_outputs


@pytest.mark.parametrize(
    ("data", "outputs"),
    [
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1\r\n\r\n# c=2\n  b = x = y  \n", {"a": "1", "b": "x = y"}),
        (b"empty=\n", {"empty": ""}),
        (b"a=1\na=2\n", {"a": "2"}),
        ("ü=ß\n".encode(), {"ü": "ß"}),
        (b"".join(b"k%d=v\n" % n for n in range(64)), {f"k{n}": "v" for n in range(64)}),
        (b"k" * 128 + b"=" + b"v" * 8192, {"k" * 128: "v" * 8192}),
    ],
)
def test_lines_become_outputs(data: bytes, outputs: dict[str, str]) -> None:
    assert parse_outputs(data) == outputs


@pytest.mark.parametrize(
    ("data", "reason", "text"),
    [
        (b"a=1\nnonsense\n", "OutputsInvalid", "line 2: no '='"),
        (b"=1\n", "OutputsInvalid", "line 1: empty key"),
        (b"a=\xff\n", "OutputsInvalid", "line 1: not valid UTF-8"),
        (b"k" * 129 + b"=v", "OutputsTooLarge", "key of 129 bytes"),
        (b"k=" + b"v" * 8193, "OutputsTooLarge", "value of 8193 bytes"),
        (b"".join(b"k%d=v\n" % n for n in range(65)), "OutputsTooLarge", "65 keys"),
        (b"".join(b"k%d=%s\n" % (n, b"v" * 8190) for n in range(9)), "OutputsTooLarge", "bytes of keys and values"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason_and_line(data: bytes, reason: str, text: str) -> None:
    with pytest.raises(OutputsError, match=text) as refused:
        parse_outputs(data)
    assert refused.value.condition_reason == reason


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        outputs = parse_outputs(data)
    except OutputsError:
        return
    assert all(key and key == key.strip() for key in outputs)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,20}", fullmatch=True), st.text("abc =#.", max_size=40).map(str.strip), max_size=64))
def test_what_is_written_is_read(outputs: dict[str, str]) -> None:
    assert parse_outputs("".join(f"{key}={value}\n" for key, value in outputs.items()).encode()) == outputs


def test_a_missing_file_has_no_outputs(tmp_path: Path) -> None:
    assert read_outputs(str(tmp_path / "outputs")) == {}


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "outputs")
    with pytest.raises(OutputsError, match="not a regular file"):
        read_outputs(str(tmp_path / "outputs"))


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a=1")
    (tmp_path / "outputs").symlink_to(tmp_path / "secret")
    with pytest.raises(OutputsError) as refused:
        read_outputs(str(tmp_path / "outputs"))
    assert refused.value.condition_reason == "OutputsInvalid"


def test_a_link_in_the_place_of_the_folder_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "outputs").write_text("a=1")
    (tmp_path / "mine").symlink_to(tmp_path / "others")
    with pytest.raises(OutputsError) as refused:
        read_outputs(str(tmp_path / "mine" / "outputs"))
    assert refused.value.condition_reason == "OutputsInvalid"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    with pytest.raises(OutputsError, match="not a regular file"):
        read_outputs(str(tmp_path / "outputs"))


def test_a_sparse_terabyte_is_refused_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "outputs").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(OutputsError, match="over the limit") as refused:
        read_outputs(str(tmp_path / "outputs"))
    assert refused.value.condition_reason == "OutputsTooLarge"
