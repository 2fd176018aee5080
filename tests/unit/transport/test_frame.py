# SPDX-License-Identifier: BSD-3-Clause
"""Headers: what is packed comes back, and nothing else is taken for a frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridtrain.transport.frame import (
    ANYONE,
    HEADER_BYTES,
    MAX_BODY_BYTES,
    Envelope,
    Frame,
    FrameError,
    frames_of,
    pack,
    unpack,
)

JOB = bytes(range(16))
HERE = 7


def _to(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1) | st.sampled_from([0, 2**bits - 1])


frames = st.builds(
    Frame,
    kind=_to(16),
    ballot=_to(128),
    step=_to(64),
    shard=_to(32),
    chunk=_to(32),
    encoding=_to(8),
    flags=_to(24),
    body=st.binary(max_size=200),
)
envelopes = st.builds(
    Envelope,
    job=st.just(JOB),
    sender=_to(64),
    receiver=st.sampled_from([HERE, ANYONE]),
    session=_to(32),
    sequence=_to(32),
)


@given(envelopes, frames)
def test_a_frame_comes_back_as_it_was(envelope: Envelope, frame: Frame) -> None:
    message = pack(envelope, frame)
    assert len(message[0]) == HEADER_BYTES
    assert unpack(message, JOB, HERE) == (envelope, frame)
    assert unpack([memoryview(part) for part in message], JOB, HERE) == (envelope, frame)


def test_the_header_has_the_fields_at_their_places() -> None:
    envelope = Envelope(JOB, sender=1, receiver=2, session=3, sequence=4)
    frame = Frame(5, ballot=6, step=7, shard=8, chunk=9, encoding=10, flags=11, body=b"body")
    header = bytes(pack(envelope, frame)[0])
    places = {6: 5, 24: 1, 32: 2, 40: 3, 44: 4, 48: 6, 64: 7, 72: 8, 76: 9, 80: 10, 81: 11, 84: 4}
    assert header[:4] == b"HTfr"
    assert header[8:24] == JOB
    assert {place: header[place] for place in places} == places


def test_sessions_and_sequences_go_on_from_zero() -> None:
    envelope = Envelope(JOB, 1, HERE, session=2**32 + 5, sequence=2**33 + 6)
    found, _ = unpack(pack(envelope, Frame(16)), JOB, HERE)
    assert (found.session, found.sequence) == (5, 6)


def test_a_body_is_any_contiguous_buffer_and_is_not_copied() -> None:
    array = np.arange(6.0)
    message = pack(Envelope(JOB, 1, HERE), Frame(16, body=memoryview(array)))
    assert np.shares_memory(np.frombuffer(message[1]), array)
    _, frame = unpack(message, JOB, HERE)
    assert np.frombuffer(frame.body).tolist() == array.tolist()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"kind": 2**16}, r"kind of a frame must be 0 \.\. 2\*\*16 - 1, got 65536"),
        ({"ballot": -1}, "ballot of a frame .* got -1"),
        ({"step": 2**64}, "step"),
        ({"shard": -1}, "shard"),
        ({"chunk": 2**32}, "chunk"),
        ({"encoding": 256}, "encoding"),
        ({"flags": 2**24}, "flags"),
        ({"body": bytes(MAX_BODY_BYTES + 1)}, "a body has at most 4194304 bytes, got 4194305"),
    ],
)
def test_a_field_out_of_range_is_named(change: dict[str, object], what: str) -> None:
    with pytest.raises(FrameError, match=what):
        pack(Envelope(JOB, 1, HERE), replace(Frame(16), **change))


def test_an_incarnation_out_of_range_is_named() -> None:
    with pytest.raises(FrameError, match="sender and receiver"):
        pack(Envelope(JOB, 1, -1), Frame(16))


@given(envelopes, frames, st.data())
def test_a_changed_bit_is_noticed(envelope: Envelope, frame: Frame, data: st.DataObject) -> None:
    message = [bytearray(part) for part in pack(envelope, frame)]
    n_bits = 8 * (sum(map(len, message)) - 4)  # all but those of the spare bytes
    place, bit = divmod(data.draw(st.integers(0, n_bits - 1)), 8)
    part, place = (0, place) if place < HEADER_BYTES - 4 else (1, place - HEADER_BYTES + 4)
    message[part][place] ^= 1 << bit
    with pytest.raises(FrameError):
        unpack([bytes(part) for part in message], JOB, HERE)


LONG = bytes(np.random.default_rng(0).bytes(100_003))


@given(st.integers(0, 8 * len(LONG) - 1))
def test_a_changed_bit_of_a_long_body_is_noticed(at: int) -> None:
    header, body = pack(Envelope(JOB, 1, HERE), Frame(16, body=LONG))
    changed = bytearray(body)
    changed[at // 8] ^= 1 << at % 8
    with pytest.raises(FrameError) as caught:
        unpack([header, bytes(changed)], JOB, HERE)
    assert caught.value.reason == "checksum"


@given(st.integers(1, 23))
def test_a_page_of_a_long_body_at_a_wrong_place_is_noticed(page: int) -> None:
    header, body = pack(Envelope(JOB, 1, HERE), Frame(16, body=LONG))
    place = slice(4096 * page, 4096 * (page + 1))
    changed = bytearray(body)
    changed[:4096], changed[place] = changed[place], changed[:4096]
    with pytest.raises(FrameError, match="changed on its way"):
        unpack([header, bytes(changed)], JOB, HERE)


GOOD = tuple(map(bytes, pack(Envelope(JOB, 1, HERE), Frame(16, body=b"body"))))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ([], "size"),
        ([b""], "size"),
        ([GOOD[0][:-1], GOOD[1]], "size"),
        ([GOOD[0] + b"0", GOOD[1]], "size"),
        ([*GOOD, b"more"], "size"),
        ([GOOD[0]], "size"),
        ([GOOD[0], b"bod"], "size"),
        ([GOOD[0], b"bodyy"], "size"),
        ([b"HTTP" + GOOD[0][4:], GOOD[1]], "magic"),
        ([GOOD[0][:4] + b"\2\0" + GOOD[0][6:], GOOD[1]], "version"),
        ([GOOD[0][:8] + bytes(16) + GOOD[0][24:], GOOD[1]], "job"),
        ([GOOD[0][:32] + b"\1" + GOOD[0][33:], GOOD[1]], "receiver"),
        ([GOOD[0], b"Body"], "checksum"),
    ],
)
def test_what_is_no_frame_is_refused_by_its_reason(message: list[bytes], reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        unpack(message, JOB, HERE)
    assert caught.value.reason == reason


def test_a_body_that_is_too_long_is_refused_before_its_checksum_is_taken() -> None:
    header = bytearray(GOOD[0])
    header[84:88] = (MAX_BODY_BYTES + 1).to_bytes(4, "little")
    with pytest.raises(FrameError, match="at most 4194304") as caught:
        unpack([bytes(header), bytes(MAX_BODY_BYTES + 1)], JOB, HERE)
    assert caught.value.reason == "size"


@given(st.lists(st.binary(max_size=120), max_size=3))
def test_bytes_from_a_stranger_are_refused(message: list[bytes]) -> None:
    with pytest.raises(FrameError):
        unpack(message, JOB, HERE)


@given(st.lists(st.sampled_from([b"", b"body", bytes(96), LONG]), min_size=1, max_size=5))
def test_a_message_of_several_frames_is_split(bodies: list[bytes]) -> None:
    frames = [
        pack(Envelope(JOB, 1, HERE, 1, k), Frame(16, body=body)) for k, body in enumerate(bodies)
    ]
    found = [
        unpack(each, JOB, HERE)[1] for each in frames_of([part for each in frames for part in each])
    ]
    assert [frame.body for frame in found] == bodies


@given(st.lists(st.one_of(st.binary(max_size=120), st.just(GOOD[0])), max_size=6))
def test_bytes_from_a_stranger_are_split(message: list[bytes]) -> None:
    frames = frames_of(message)
    assert frames
    assert [part for frame in frames for part in frame] == message
