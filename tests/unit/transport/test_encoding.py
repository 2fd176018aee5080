# SPDX-License-Identifier: BSD-3-Clause
"""Encodings: sums and marks come back, the shortest is chosen, broken bodies change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridtrain.transport.encoding import (
    COORDINATES,
    DENSE,
    GROUP,
    GROUPS,
    MAX_COORDINATES,
    Marks,
    Sums,
    add,
    encode,
)
from hybridtrain.transport.frame import MAX_BODY_BYTES, FrameError


@st.composite
def stretches(draw: st.DrawFn) -> tuple[Sums, Marks]:
    """Sums of few or many of up to 300 coordinates, of 1 .. 8 bytes, some marked groups zero."""
    n = draw(st.integers(1, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    largest = 2 ** draw(st.integers(1, 63)) - 1
    marks = (rng.random(-(-n // GROUP)) < draw(st.sampled_from([0, 0.1, 0.5, 1]))).astype(np.uint8)
    sums = rng.integers(-largest - 1, largest, n, dtype=np.int64, endpoint=True)
    sums[rng.random(n) >= draw(st.sampled_from([0, 0.1, 0.5, 1]))] = 0
    sums[np.repeat(marks, GROUP)[:n] == 0] = 0
    return sums, marks * np.uint8(draw(st.sampled_from([1, 255])))


def _decoded(body: bytes | memoryview, encoding: int, n: int) -> tuple[Sums, Marks]:
    sums, marks = np.zeros(n, np.int64), np.zeros(-(-n // GROUP), np.uint8)
    add(body, encoding, sums, marks)
    return sums, marks


@given(stretches())
def test_sums_and_marks_come_back(stretch: tuple[Sums, Marks]) -> None:
    sums, marks = stretch
    encoding, body = encode(sums, marks)
    found, found_marks = _decoded(body, encoding, len(sums))
    assert np.array_equal(found, sums)
    assert np.array_equal(found_marks, marks != 0)


@given(stretches(), st.integers(0, 2**32))
def test_sums_are_added_and_wrap_around(stretch: tuple[Sums, Marks], seed: int) -> None:
    sums, marks = stretch
    others = np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, len(sums), dtype=np.int64)
    total, total_marks = others.copy(), np.zeros_like(marks)
    encoding, body = encode(sums, marks)
    add(body, encoding, total, total_marks)
    assert np.array_equal(total, others + sums)


def _stretch(n: int, touched: int, value: int) -> tuple[Sums, Marks]:
    """n coordinates, of which every n // touched-th has a sum."""
    sums, marks = np.zeros(n, np.int64), np.zeros(-(-n // GROUP), np.uint8)
    sums[:: n // touched] = value
    marks[np.flatnonzero(sums) // GROUP] = 1
    return sums, marks


@pytest.mark.parametrize(
    ("n", "touched", "value", "encoding", "nbytes"),
    [
        (4096, 16, 2**38, COORDINATES, 16 * (2 + 5)),
        (4096, 4096, 2**38, DENSE, 4096 * 5),
        (4096, 1024, 1, COORDINATES, 1024 * (2 + 1)),
        (4096, 2048, -128, DENSE, 4096),
        (4096, 1, 2**62, COORDINATES, 2 + 8),
    ],
)
def test_the_shortest_encoding_is_chosen_and_sums_are_cut(
    n: int, touched: int, value: int, encoding: int, nbytes: int
) -> None:
    chosen, body = encode(*_stretch(n, touched, value))
    assert (chosen, len(body)) == (encoding, 8 + nbytes)


def test_full_groups_are_sent_with_a_bit_for_each_group() -> None:
    sums, marks = np.zeros(4096, np.int64), np.zeros(512, np.uint8)
    marks[10:20] = 1
    sums[80:160] = 1000
    chosen, body = encode(sums, marks)
    assert (chosen, len(body)) == (GROUPS, 8 + 80 * 2 + 512 // 8)


@pytest.mark.parametrize("bits", range(1, 64))
@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_has_the_bytes_that_it_needs(bits: int, sign: int) -> None:
    edge = 2 ** (bits - 1) if sign > 0 else -(2 ** (bits - 1)) - (bits < 63)
    sums = np.array([edge], np.int64)
    encoding, body = encode(sums, np.ones(1, np.uint8))
    needed = next(w for w in range(1, 9) if -(2 ** (8 * w - 1)) <= edge < 2 ** (8 * w - 1))
    assert body[0] == needed
    assert _decoded(body, encoding, 1)[0] == sums


def test_far_coordinates_need_more_than_two_bytes_of_distance() -> None:
    sums, marks = _stretch(MAX_COORDINATES, 4, 7)
    sums[-1], marks[-1] = 5, 1
    encoding, body = encode(sums, marks)
    assert (encoding, len(body)) == (COORDINATES, 8 + 5 + 2 * (5 + 4))
    assert np.array_equal(_decoded(body, encoding, len(sums))[0], sums)


def test_a_longest_stretch_of_largest_sums_fits_a_frame() -> None:
    sums = np.full(MAX_COORDINATES, -(2**63), np.int64)
    encoding, body = encode(sums, np.ones(MAX_COORDINATES // GROUP, np.uint8))
    assert encoding == DENSE
    assert MAX_BODY_BYTES - 64 < len(body) <= MAX_BODY_BYTES
    assert np.array_equal(_decoded(body, encoding, len(sums))[0], sums)


def test_nothing_touched_is_a_head() -> None:
    encoding, body = encode(np.zeros(20, np.int64), np.zeros(3, np.uint8))
    assert len(body) == 8
    assert not _decoded(body, encoding, 20)[1].any()


def _unchanged(body: bytes, encoding: int, n: int) -> str:
    sums, marks = np.arange(n), np.zeros(-(-n // GROUP), np.uint8)
    with pytest.raises(FrameError) as caught:
        add(body, encoding, sums, marks)
    assert np.array_equal(sums, np.arange(n))
    assert not marks.any()
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "encoding", "n", "what"),
    [
        (b"", DENSE, 8, "a head of 8 bytes, got 0"),
        (b"\1\0\0\0\0\0\0\0", 0, 8, r"encoding must be 1 \.\. 3, got 0"),
        (b"\0\0\0\0\0\0\0\0", DENSE, 8, r"a width of 1 \.\. 8 bytes, got 0"),
        (b"\x09\0\0\0\0\0\0\0", DENSE, 8, "width"),
        (b"\1\0\0\0\xff\xff\xff\xff", DENSE, 8, "at most 8 sums"),
        (b"\1\0\0\0\x08\0\0\0" + bytes(7), DENSE, 8, "8 sums of 1 bytes"),
        (b"\1\0\0\0\x07\0\0\0" + bytes(7), DENSE, 8, "all of 8 sums, got 7"),
        (b"\1\0\0\0\x08\0\0\0" + bytes(9), DENSE, 8, "all of 8 sums"),
        (b"\1\0\0\0\x08\0\0\0" + bytes(8), GROUPS, 8, "1 bytes of bits, got 0"),
        (b"\1\0\0\0\x08\0\0\0" + bytes(8) + b"\2", GROUPS, 8, "1 groups, got .1"),
        (b"\1\0\0\0\x07\0\0\0" + bytes(7) + b"\1", GROUPS, 8, "sums of 1 groups, got 7"),
        (b"\1\0\0\0\x01\0\0\0" + b"\5\0", COORDINATES, 8, "at most 2 bytes, got 1"),
        (b"\1\0\0\0\x01\0\0\0" + b"\5" + b"\0\0\0\0", COORDINATES, 8, "at most 2 bytes, got 4"),
        (b"\1\0\0\0\x01\0\0\0" + b"\5" + b"\x08\0", COORDINATES, 8, "places below 8"),
        (b"\1\0\0\0\x01\0\0\0" + b"\5" + b"\xff\xff", COORDINATES, 8, "places of 1 sums, got 0"),
    ],
)
def test_a_broken_body_is_refused_and_changes_nothing(
    body: bytes, encoding: int, n: int, what: str
) -> None:
    with pytest.raises(FrameError, match=what):
        raise FrameError("body", _unchanged(body, encoding, n))


@given(st.binary(max_size=60), st.integers(0, 4), st.integers(1, 100))
def test_bytes_from_a_stranger_are_added_or_refused_whole(
    body: bytes, encoding: int, n: int
) -> None:
    sums, marks = np.zeros(n, np.int64), np.zeros(-(-n // GROUP), np.uint8)
    try:
        add(body, encoding, sums, marks)
    except FrameError:
        assert not sums.any()
        assert not marks.any()
    else:
        assert np.all(marks[np.flatnonzero(sums) // GROUP] == 1)
