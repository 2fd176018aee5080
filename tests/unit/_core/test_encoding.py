# SPDX-License-Identifier: BSD-3-Clause
"""Encodings: sums and marks come back, the shortest is chosen, broken bodies change nothing."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridtrain._core.guest import (
    COORDINATES,
    DENSE,
    GROUP,
    GROUPS,
    MOST_GROUPS,
    add,
    clear,
    encode,
)
from hybridtrain.transport.frame import MAX_BODY_BYTES

Sums: TypeAlias = npt.NDArray[np.int64]
Marks: TypeAlias = npt.NDArray[np.uint8]


@st.composite
def stretches(draw: st.DrawFn) -> tuple[Sums, Marks]:
    """Sums of few or many of up to 304 coordinates, of 1 .. 8 bytes, some marked groups zero."""
    n_groups = draw(st.integers(1, 38))
    n = GROUP * n_groups
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    largest = 2 ** draw(st.integers(1, 63)) - 1
    marks = (rng.random(n_groups) < draw(st.sampled_from([0, 0.1, 0.5, 1]))).astype(np.uint8)
    sums = rng.integers(-largest - 1, largest, n, dtype=np.int64, endpoint=True)
    sums[rng.random(n) >= draw(st.sampled_from([0, 0.1, 0.5, 1]))] = 0
    sums[np.repeat(marks, GROUP) == 0] = 0
    return sums, marks * np.uint8(draw(st.sampled_from([1, 255])))


def _decoded(body: bytes, encoding: int, n: int) -> tuple[Sums, Marks]:
    sums, marks = np.zeros(n, np.int64), np.zeros(n // GROUP, np.uint8)
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
    sums, marks = np.zeros(n, np.int64), np.zeros(n // GROUP, np.uint8)
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
    sums = np.full(GROUP, edge, np.int64)
    encoding, body = encode(sums, np.ones(1, np.uint8))
    needed = next(w for w in range(1, 9) if -(2 ** (8 * w - 1)) <= edge < 2 ** (8 * w - 1))
    assert body[0] == needed
    assert np.array_equal(_decoded(body, encoding, GROUP)[0], sums)


def test_far_coordinates_need_more_than_two_bytes_of_distance() -> None:
    sums, marks = _stretch(GROUP * MOST_GROUPS, 4, 7)
    sums[-1], marks[-1] = 5, 1
    encoding, body = encode(sums, marks)
    assert (encoding, len(body)) == (COORDINATES, 8 + 5 + 2 * (5 + 4))
    assert np.array_equal(_decoded(body, encoding, len(sums))[0], sums)


def test_a_longest_stretch_of_largest_sums_fits_a_frame() -> None:
    sums = np.full(GROUP * MOST_GROUPS, -(2**63), np.int64)
    encoding, body = encode(sums, np.ones(MOST_GROUPS, np.uint8))
    assert encoding == DENSE
    assert MAX_BODY_BYTES - 64 < len(body) <= MAX_BODY_BYTES
    assert np.array_equal(_decoded(body, encoding, len(sums))[0], sums)


def test_nothing_touched_is_a_head() -> None:
    encoding, body = encode(np.zeros(24, np.int64), np.zeros(3, np.uint8))
    assert len(body) == 8
    assert not _decoded(body, encoding, 24)[1].any()


def test_a_marked_group_of_zeros_stays_marked() -> None:
    sums, marks = np.zeros(24, np.int64), np.array([0, 1, 0], np.uint8)
    encoding, body = encode(sums, marks)
    assert (encoding, len(body)) == (COORDINATES, 8 + 1 + 2)
    assert np.array_equal(_decoded(body, encoding, 24)[1], marks)


def test_an_empty_shard_is_a_head() -> None:
    nothing = np.zeros(0, np.int64), np.zeros(0, np.uint8)
    encoding, body = encode(*nothing)
    assert len(body) == 8
    add(body, encoding, *nothing)


def test_marked_groups_are_cleared() -> None:
    sums, marks = np.arange(400) + 1, np.zeros(50, np.uint8)
    marks[[0, 8, 49]] = 1, 255, 1
    expected = np.where(np.repeat(marks, GROUP) != 0, 0, sums)
    clear(sums, marks)
    assert np.array_equal(sums, expected)
    assert not marks.any()


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 groups have 16 sums, got 8"):
        encode(np.zeros(8, np.int64), np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match="2 groups have 16 sums, got 8"):
        clear(np.zeros(8, np.int64), np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match="at most 65535 groups, got 65536"):
        encode(np.zeros(8 * 65536, np.int64), np.zeros(65536, np.uint8))


@pytest.mark.parametrize(
    ("body", "encoding", "what"),
    [
        (b"", DENSE, "a head of 8 bytes; got 0 bytes of encoding 3"),
        (b"\1" + bytes(7), 0, r"an encoding of 1 \.\. 3"),
        (b"\1" + bytes(7), 4, r"an encoding of 1 \.\. 3"),
        (bytes(8), DENSE, r"a width of 1 \.\. 8 bytes"),
        (b"\x09" + bytes(7), DENSE, r"a width of 1 \.\. 8 bytes"),
        (b"\1\0\0\0\xff\xff\xff\xff", DENSE, "at most a sum for each coordinate"),
        (b"\1\0\0\0\x08\0\0\0" + bytes(7), DENSE, "as many sums as its head says"),
        (b"\1\0\0\0\x07\0\0\0" + bytes(7), DENSE, "all sums, and nothing else"),
        (b"\1\0\0\0\x08\0\0\0" + bytes(9), DENSE, "all sums, and nothing else"),
        (b"\1\0\0\0\x08\0\0\0" + bytes(8), GROUPS, "a bit for each group"),
        (b"\1\0\0\0\x08\0\0\0" + bytes(8) + b"\2", GROUPS, "no bits beyond its groups"),
        (b"\1\0\0\0\x07\0\0\0" + bytes(7) + b"\1", GROUPS, "the groups that its bits name"),
        (b"\1\0\0\0\x01\0\0\0" + b"\5\0", COORDINATES, "distances of 2 bytes"),
        (b"\1\0\0\0\x01\0\0\0" + b"\5" + bytes(4), COORDINATES, "a place for each sum"),
        (b"\1\0\0\0\x01\0\0\0" + b"\5\xff\xff", COORDINATES, "a place for each sum"),
        (b"\1\0\0\0\x01\0\0\0" + b"\5\x08\0", COORDINATES, "no places beyond its coordinates"),
        (
            b"\1\0\0\0\x01\0\0\0" + b"\5\xff\xff\0\0",
            COORDINATES,
            "no places beyond its coordinates",
        ),
    ],
)
def test_a_broken_body_is_refused_and_changes_nothing(
    body: bytes, encoding: int, what: str
) -> None:
    sums, marks = np.arange(GROUP), np.zeros(1, np.uint8)
    with pytest.raises(ValueError, match=what):
        add(body, encoding, sums, marks)
    assert np.array_equal(sums, np.arange(GROUP))
    assert not marks.any()


@given(st.binary(max_size=60), st.integers(0, 4), st.integers(1, 12))
def test_bytes_from_a_stranger_are_added_or_refused_whole(
    body: bytes, encoding: int, n_groups: int
) -> None:
    sums, marks = np.zeros(GROUP * n_groups, np.int64), np.zeros(n_groups, np.uint8)
    try:
        add(body, encoding, sums, marks)
    except ValueError:
        assert not sums.any()
        assert not marks.any()
    else:
        assert np.all(marks[np.flatnonzero(sums) // GROUP] == 1)


@pytest.mark.parametrize("encoding", [COORDINATES, GROUPS, DENSE])
@given(st.data())
def test_a_body_with_changed_bytes_is_added_or_refused_whole(
    encoding: int, data: st.DataObject
) -> None:
    sums, marks = np.zeros(640, np.int64), np.zeros(80, np.uint8)
    n_marked = {COORDINATES: 80, GROUPS: 40, DENSE: 80}[encoding]
    marks[:n_marked] = 1
    sums[: GROUP * n_marked : 4 if encoding == COORDINATES else 1] = 1000
    chosen, body = encode(sums, marks)
    assert chosen == encoding
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    total, total_marks = np.zeros(640, np.int64), np.zeros(80, np.uint8)
    try:
        add(bytes(changed), encoding, total, total_marks)
    except ValueError:
        assert not total.any()
        assert not total_marks.any()
    else:
        assert np.all(total_marks[np.flatnonzero(total) // GROUP] == 1)
