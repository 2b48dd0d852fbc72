"""Framing: any cut of the stream gives the same payloads; nonsense is named, not raised as something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.supervisor.wire import FRAME_LIMIT_BYTES, BadMessage, FrameReader, FrameTooLarge, decode, encode

messages = st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=20), st.none()), max_size=3)


@pytest.mark.slow
@given(st.lists(messages, max_size=5), st.data())
def test_however_the_stream_is_cut_the_messages_are_the_same(sent: list[dict[str, object]], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    reader = FrameReader()
    received = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        received += [decode(payload) for payload in reader.feed(stream[:size])]
        stream = stream[size:]
    assert received == sent


@given(st.binary(max_size=300))
def test_any_payload_is_a_message_or_bad(payload: bytes) -> None:
    try:
        assert isinstance(decode(payload), dict)
    except BadMessage:
        return


def test_a_length_over_the_limit_is_refused_before_anything_is_kept() -> None:
    with pytest.raises(FrameTooLarge):
        FrameReader().feed((FRAME_LIMIT_BYTES + 1).to_bytes(4, "big"))
