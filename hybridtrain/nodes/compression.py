# SPDX-License-Identifier: BSD-3-Clause
"""Changes of values in fewer bytes, for slow links between nodes, with error feedback.

What a coder leaves out of a change stays with who has sent it, and is added to the next one: so
nothing is lost, only late (Seide et al. 2014, Interspeech; Karimireddy et al. 2019,
arXiv:1901.09847). Both ways are coded: what nodes send to a reducer, and what it sends to all
(Tang et al. 2019, "DoubleSqueeze", arXiv:1905.05957).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from hybridtrain._core.leased import decode, encode
from hybridtrain.data.arrays import Floats
from hybridtrain.plan.compress import top_share

_BLOCK = 256  # coordinates with one scale
_LEVELS = 127


WHOLE, CODED = 0, 1  # encodings


class Coder:
    """Turn values into bytes and back; both ends have the same base. This one loses no bit.

    `values` and `base` are float32 arrays (n_arrays, n), of which it takes the columns first ..
    last-1.
    """

    def encode(
        self, values: Floats, base: Floats, first: int, last: int, *, is_whole: bool
    ) -> tuple[int, bytes]:
        """Return encoding and body for values that have come from base.

        is_whole: to the last bit, and with all that was left out before.
        """
        del is_whole
        return WHOLE, encode(values, base, first, last)

    def decode(
        self, encoding: int, body: memoryview, values: Floats, first: int, last: int
    ) -> None:
        """Turn base, in the place of `values`, into the values of a body, from whomever.

        Raises
        ------
        ValueError
            When it is no body of so many values; then nothing has changed.
        """
        if encoding != WHOLE:
            raise ValueError(f"unknown encoding {encoding}")
        decode(body, values, first, last)

    def commit(self) -> None:
        """Note that what was encoded has been received, and will not be encoded again."""


class _Lossy(Coder, ABC):
    """Send changes in fewer bytes; those that are not finite whole: the run is about to end.

    Parameters
    ----------
    contents : tuple of str
        Of each array, as `contents` of the core: no square may become negative.
    """

    def __init__(self, contents: tuple[str, ...]) -> None:
        self._squares = [k for k, name in enumerate(contents) if name.endswith("squares")]
        self._left: Floats | None = None  # out, so far, of all columns
        self._next: dict[tuple[int, int], Floats] = {}  # of columns, once they are received

    def encode(
        self, values: Floats, base: Floats, first: int, last: int, *, is_whole: bool
    ) -> tuple[int, bytes]:
        """Return the body of the change, and of what was left out before."""
        if self._left is None or self._left.shape != values.shape:
            self._left = np.zeros_like(values)
        part, left = base[:, first:last], self._left[:, first:last]
        change = values[:, first:last] - part + left
        if is_whole or not np.isfinite(change).all():
            self._next[first, last] = np.zeros_like(left)
            whole = values[:, first:last] + left
            self._keep_squares(whole)
            return WHOLE, encode(whole, np.ascontiguousarray(part), 0, last - first)
        body, received = self._coded(change), part.copy()
        self.decode(CODED, memoryview(body), received, 0, last - first)
        self._next[first, last] = change - (received - part)
        return CODED, body

    def decode(
        self, encoding: int, body: memoryview, values: Floats, first: int, last: int
    ) -> None:
        """Add the change of a body."""
        if encoding != CODED:
            super().decode(encoding, body, values, first, last)
            return
        part = values[:, first:last]
        part += self._change(body, *part.shape)
        self._keep_squares(part)

    def _keep_squares(self, values: Floats) -> None:
        for k in self._squares:
            np.maximum(values[k], 0.0, out=values[k])

    def commit(self) -> None:
        """Keep what was left out for the next time."""
        for (first, last), left in self._next.items():
            assert self._left is not None
            self._left[:, first:last] = left
        self._next = {}

    @abstractmethod
    def _coded(self, change: Floats) -> bytes:
        """Return the body of a finite change."""

    @abstractmethod
    def _change(self, body: memoryview, n_arrays: int, n: int) -> Floats:
        """Return the change of a body, from whomever; ValueError: it is none."""


class Int8(_Lossy):
    """Round changes to 8 bits: of 256 neighbours the largest has 127 steps.

    Of squares their roots are rounded: steps are divided by roots, also by those of small ones.
    A body has the scale of each block of each array, float32, and then a byte for each value of the
    blocks whose scale is not 0.
    """

    def _coded(self, change: Floats) -> bytes:
        change = change.copy()
        for k in self._squares:
            change[k] = np.copysign(np.sqrt(np.abs(change[k])), change[k])
        blocks = _blocks(change)
        scale = np.abs(blocks).max(axis=1) / np.float32(_LEVELS)
        kept = scale > 0.0
        levels = np.rint(blocks[kept] / scale[kept, None]).clip(-_LEVELS, _LEVELS)
        return b"".join([scale.tobytes(), levels.astype(np.int8).tobytes()])

    def _change(self, body: memoryview, n_arrays: int, n: int) -> Floats:
        n_blocks = n_arrays * -(-n // _BLOCK)
        if body.nbytes < 4 * n_blocks:
            raise ValueError(f"{n_blocks} scales expected, got {body.nbytes} bytes")
        scale = np.frombuffer(body[: 4 * n_blocks], np.float32)
        kept = scale != 0.0
        is_sound = bool((np.isfinite(scale) & (scale >= 0.0)).all())
        if body.nbytes != 4 * n_blocks + _BLOCK * int(kept.sum()) or not is_sound:
            raise ValueError(f"{body.nbytes} bytes are not the changes of {n} coordinates")
        levels = np.frombuffer(body[4 * n_blocks :], np.int8).reshape(-1, _BLOCK)
        blocks = np.zeros((n_blocks, _BLOCK), np.float32)
        blocks[kept] = levels * scale[kept, None]
        change = blocks.reshape(n_arrays, -1)[:, :n]
        for k in self._squares:
            change[k] *= np.abs(change[k])
        return change


class TopK(_Lossy):
    """Send the coordinates whose parameter has changed most, whole.

    A body has the number of coordinates, uint32, their numbers, uint32, in order, and then their
    changes in each array, float32.

    Parameters
    ----------
    contents : tuple of str
        As of `Int8`.
    share : float
        Of the coordinates, in 0 .. 1.
    """

    def __init__(self, contents: tuple[str, ...], share: float) -> None:
        super().__init__(contents)
        self._share = share

    def _coded(self, change: Floats) -> bytes:
        n = change.shape[1]
        k = min(n, max(1, round(self._share * n)))
        size = np.abs(change[0])
        places = np.sort(np.argpartition(size, n - k)[n - k :]) if n else np.zeros(0, np.intp)
        places = places[change[:, places].any(axis=0)].astype(np.uint32)
        head = np.uint32(len(places)).tobytes() + places.tobytes()
        return head + np.ascontiguousarray(change[:, places]).tobytes()

    def _change(self, body: memoryview, n_arrays: int, n: int) -> Floats:
        count = int(np.frombuffer(body[:4], np.uint32)[0]) if body.nbytes >= 4 else n + 1
        if count > n or body.nbytes != 4 + 4 * count * (1 + n_arrays):
            raise ValueError(f"{body.nbytes} bytes are not the changes of {n} coordinates")
        places = np.frombuffer(body[4 : 4 + 4 * count], np.uint32)
        if count and (places[-1] >= n or (np.diff(places.astype(np.int64)) <= 0).any()):
            raise ValueError("the numbers of coordinates do not rise, or are too large")
        change = np.zeros((n_arrays, n), np.float32)
        change[:, places] = np.frombuffer(body[4 + 4 * count :], np.float32).reshape(n_arrays, -1)
        return change


def _blocks(change: Floats) -> Floats:
    """Return the blocks of each array, one after the other; the last one is filled with zeros."""
    n_arrays, n = change.shape
    padded = np.zeros((n_arrays, -(-n // _BLOCK) * _BLOCK), np.float32)
    padded[:, :n] = change
    return padded.reshape(-1, _BLOCK)


def coder(compress: str | None, contents: tuple[str, ...]) -> Coder:
    """Return a new coder by the word of a strategy; see `checked_compress`."""
    if compress is None:
        return Coder()
    share = top_share(compress)
    return Int8(contents) if share is None else TopK(contents, share)
