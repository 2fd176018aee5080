# SPDX-License-Identifier: BSD-3-Clause
"""The sums of one stretch of coordinates as a frame's body: the shortest of three encodings.

Sums are 64-bit integers, and each group of 8 coordinates has a mark: whether the step touched it.
A group without a mark has no sums. Marks arrive exactly as they were: of some optimizers a group
that was touched takes a step even if its sums are zero::

    COORDINATES   each sum that is not zero, by its distance from the one before
    GROUPS        the sums of all marked groups, and a bit for each group
    DENSE         all sums; every group is marked

A body is a head, the sums, and then the distances or bits. The head is the width of a sum in
bytes, 1 .. 8, three spare bytes, and the number of sums (4 bytes). Sums are cut to the bytes that
the largest one needs, and stand in planes: of width 5 first the lower 4 bytes of all sums, then
the upper byte of all. A distance is the number of coordinates that are passed over, in 2 bytes;
65,535 passes over so many and names none. All numbers are little endian.
"""

from __future__ import annotations

import struct
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hybridtrain.transport.frame import Buffer, FrameError

COORDINATES, GROUPS, DENSE = 1, 2, 3
GROUP = 8  # coordinates
MAX_COORDINATES = 8 * 65_535  # of one body: their sums fit a frame at any width

Sums: TypeAlias = npt.NDArray[np.int64]
Marks: TypeAlias = npt.NDArray[np.uint8]
_Array: TypeAlias = npt.NDArray[Any]

_HEAD = struct.Struct("<B3xI")
_SKIP = 65_535  # a distance that names no coordinate


def encode(sums: Sums, marks: Marks) -> tuple[int, Buffer]:
    """Return the shortest encoding of sums, and the body.

    Parameters
    ----------
    sums : (n,) int64
        n at most MAX_COORDINATES; zero in groups that are not marked.
    marks : (ceil(n / 8),) uint8
        Not zero: the group was touched.

    Notes
    -----
    The choice is a function of the sums and marks.
    """
    rows = np.flatnonzero(marks)
    whole = len(rows) == len(marks)
    groups = _in_groups(sums) if whole else _in_groups(sums)[rows]
    width = _width(groups)
    by_groups = width * groups.size + (0 if whole else -(-len(marks) // 8))
    if np.count_nonzero(groups) * (width + 2) < by_groups:  # else it cannot be the shortest
        places, values = _coordinates(groups, rows)
        distances = _distances(places)
        if distances.nbytes + width * len(values) < by_groups:
            return COORDINATES, _body(values, width, distances)
    if whole:
        return DENSE, _body(sums, width, np.empty(0, np.uint8))
    return GROUPS, _body(groups.reshape(-1), width, np.packbits(marks != 0, bitorder="little"))


def add(body: Buffer, encoding: int, sums: Sums, marks: Marks) -> None:
    """Add the sums of a body to others, modulo 2**64, and mark its groups with 1.

    Parameters
    ----------
    body : bytes or memoryview
        From `encode`, or from whomever.
    encoding : int
        Of the body.
    sums : (n,) int64
        Added to in place.
    marks : (ceil(n / 8),) uint8
        Changed in place.

    Raises
    ------
    FrameError
        When the body is no encoding of n coordinates; then nothing has changed.
    """
    n = len(sums)
    values, rest = _parts(body, GROUP * len(marks))
    if encoding == DENSE:
        _require(len(values) == n and not len(rest), f"all of {n} sums", len(values))
        sums += values
        marks[:] = 1
    elif encoding == GROUPS:
        n_bytes = -(-len(marks) // 8)
        _require(len(rest) == n_bytes, f"{n_bytes} bytes of bits", len(rest))
        rows = np.flatnonzero(np.unpackbits(rest, bitorder="little"))
        _require(not len(rows) or rows[-1] < len(marks), f"{len(marks)} groups", rows[-1:])
        _require(len(values) == GROUP * len(rows), f"sums of {len(rows)} groups", len(values))
        _add_groups(values.reshape(-1, GROUP), rows, sums)
        marks[rows] = 1
    elif encoding == COORDINATES:
        most = 2 * (len(values) + n // _SKIP)
        _require(len(rest) % 2 == 0 and len(rest) <= most, f"at most {most} bytes", len(rest))
        distances = rest.view("<u2").astype(np.int64)
        is_place = distances != _SKIP
        places = (np.cumsum(distances + is_place) - 1)[is_place]
        _require(len(places) == len(values), f"places of {len(values)} sums", len(places))
        _require(not len(places) or places[-1] < n, f"places below {n}", places[-1:])
        sums[places] += values
        marks[places // GROUP] = 1
    else:
        raise FrameError("encoding", f"encoding must be 1 .. 3, got {encoding}")


def _require(is_so: bool, expected: str, found: object) -> None:
    if not is_so:
        raise FrameError("body", f"the body should have {expected}, got {found}")


def _in_groups(sums: Sums) -> Sums:
    """Return sums as rows of 8, the last one filled up with zeros."""
    if len(sums) % GROUP:
        sums = np.concatenate([sums, np.zeros(-len(sums) % GROUP, np.int64)])
    return sums.reshape(-1, GROUP)


def _add_groups(groups: Sums, rows: _Array, sums: Sums) -> None:
    """Add rows of 8 to those of sums; what fills up the last one is left out."""
    n_whole = len(sums) // GROUP
    last = len(groups)
    if len(rows) and rows[-1] == n_whole:
        last -= 1
        sums[GROUP * n_whole :] += groups[-1, : len(sums) % GROUP]
    sums[: GROUP * n_whole].reshape(-1, GROUP)[rows[:last]] += groups[:last]


def _width(values: Sums) -> int:
    """Return how many bytes the largest sum needs, 1 .. 8."""
    if not values.size:
        return 1
    largest = max(int(values.max()), -int(values.min()) - 1)
    return largest.bit_length() // 8 + 1


def _coordinates(groups: Sums, rows: _Array) -> tuple[_Array, Sums]:
    """Return the places of the sums that are not zero, and these; of a group of zeros its first."""
    is_kept = groups != 0
    is_kept[:, 0] |= is_kept.view(np.uint64)[:, 0] == 0
    at = np.flatnonzero(is_kept)
    return GROUP * rows[at // GROUP] + at % GROUP, groups.reshape(-1)[at]


def _distances(places: _Array) -> npt.NDArray[np.uint16]:
    """Return the distances that name places, which ascend."""
    passed = np.diff(places, prepend=-1) - 1
    if passed.max(initial=0) < _SKIP:
        return passed.astype("<u2")
    skips, rest = np.divmod(passed, _SKIP)
    at = np.arange(len(places)) + np.cumsum(skips)
    distances = np.full(len(places) + int(skips.sum()), _SKIP, "<u2")
    distances[at] = rest
    return distances


def _planes(width: int) -> list[tuple[int, int]]:
    """Return (bytes, bits below) of each plane of sums of a width: 7 is 4, 2 and 1 bytes."""
    sizes = [size for size in (8, 4, 2, 1) if width & size]
    return [(size, 8 * sum(sizes[:k])) for k, size in enumerate(sizes)]


def _body(values: Sums, width: int, rest: _Array) -> Buffer:
    n = len(values)
    body = np.empty(_HEAD.size + width * n + rest.nbytes, np.uint8)
    _HEAD.pack_into(body.data, 0, width, n)
    at = _HEAD.size
    for size, below in _planes(width):
        plane = body[at : at + size * n].view(f"<u{size}")
        np.copyto(plane, values >> below if below else values, casting="unsafe")
        at += size * n
    body[at:] = rest.view(np.uint8)
    return body.data


def _parts(body: Buffer, most: int) -> tuple[Sums, _Array]:
    """Return the sums of a body, `most` of them at most, and what follows them."""
    _require(len(body) >= _HEAD.size, f"a head of {_HEAD.size} bytes", len(body))
    width, n = _HEAD.unpack_from(body)
    array = np.frombuffer(body, np.uint8)
    end = _HEAD.size + width * n
    _require(1 <= width <= 8, "a width of 1 .. 8 bytes", width)
    _require(n <= most, f"at most {most} sums", n)
    _require(end <= len(body), f"{n} sums of {width} bytes", len(body))
    planes, at = [], _HEAD.size
    for size, below in _planes(width):
        planes.append((array[at : at + size * n], size, below))
        at += size * n
    top, size, below = planes.pop()
    values: Sums = top.view(f"<i{size}").astype(np.int64, copy=False)
    if below:
        values <<= below
    for plane, size, below in planes:
        lower = plane.view(f"<u{size}")
        values |= lower if not below else lower.astype(np.int64) << below
    return values, array[end:]
