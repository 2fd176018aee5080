# SPDX-License-Identifier: BSD-3-Clause
"""What a case is made of: choices that follow from the name of its kind and its seed alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from scipy import sparse

_T = TypeVar("_T")


class Draw(random.Random):
    """A source of choices; `numbers` is NumPy's, from the same seed."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(f"{name}:{seed}")
        self.number = seed
        self.numbers = np.random.default_rng(self.getrandbits(64))
        self.path: list[str] = []

    def one(self, options: Sequence[_T]) -> _T:
        """Return one of the options."""
        return options[self.randrange(len(options))]

    def named(self, options: Mapping[str, _T]) -> _T:
        """Return one of the options, and note its name for the report of a failure."""
        name = self.one(list(options))
        self.note(name)
        return options[name]

    def note(self, what: object) -> None:
        """Keep a word on what the case is, for the report of a failure."""
        self.path.append(str(what))

    def chance(self, share: float) -> bool:
        """Return True for this share of the calls."""
        return self.random() < share

    def below(self, stop: int) -> int:
        """Return a number in 0 .. stop - 1; 0 for an empty range."""
        return self.randrange(max(stop, 1))


def eighths(draw: Draw, shape: int | tuple[int, ...], *, positive: bool = False) -> Any:
    """Draw float64 values whose sums and float32 forms are exact, never 0."""
    size = draw.numbers.integers(1, 40, shape) / 8.0
    return size if positive else size * draw.numbers.choice([-1.0, 1.0], shape)


def sparse_rows(draw: Draw, *, positive: bool = False) -> Any:
    """Draw a sound CSR matrix: float32, int32, sorted; rows and columns may be empty."""
    n_rows, n_features = draw.randint(2, 40), draw.randint(1, 24)
    has = draw.numbers.random((n_rows, n_features)) < draw.one([0.0, 0.1, 0.4, 1.0])
    has[draw.below(n_rows), draw.below(n_features)] = True
    values = np.where(has, eighths(draw, has.shape, positive=positive), 0.0).astype(np.float32)
    matrix = sparse.csr_matrix(values)
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    return matrix


def dense_rows(draw: Draw) -> Any:
    """Draw a sound dense matrix: float32 in C order."""
    return eighths(draw, (draw.randint(2, 40), draw.randint(1, 12))).astype(np.float32)


def two_classes(draw: Draw, n_rows: int) -> Any:
    """Draw labels 0 and 1, both of which occur."""
    y = draw.numbers.integers(0, 2, n_rows)
    y[:2] = 0, 1
    return y


def call_one(draw: Draw, options: Mapping[str, Callable[[Draw], _T]]) -> _T:
    """Make what one of the options makes."""
    return draw.named(options)(draw)
