# SPDX-License-Identifier: BSD-3-Clause
"""Small random problems with planted coefficients, for all tests."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse


@dataclass(frozen=True)
class Problem:
    """Rows, what they were made of, and targets of both kinds."""

    X: Any
    coef: npt.NDArray[np.float32]
    labels: npt.NDArray[np.bool_]
    values: npt.NDArray[np.float32]


def sparse_rows(
    seed: int,
    n_rows: int,
    n_features: int,
    *,
    longest: int,
    ones: bool = False,
) -> Any:
    """Return CSR rows of 0 .. longest elements; low features are frequent, the last is empty."""
    return _sparse_rows(seed, n_rows, n_features, longest, ones).copy()


@functools.lru_cache(maxsize=32)  # drawing them takes longer than a test's training
def _sparse_rows(seed: int, n_rows: int, n_features: int, longest: int, ones: bool) -> Any:
    rng = np.random.default_rng(seed)
    popularity = 1.0 / np.arange(1, n_features)
    popularity /= popularity.sum()
    lengths = rng.integers(0, min(longest, n_features - 1) + 1, n_rows)
    indices = [
        np.sort(rng.choice(n_features - 1, length, replace=False, p=popularity))
        for length in lengths
    ]
    pointers = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    n_elements = int(pointers[-1])
    values = rng.standard_normal(n_elements) if not ones else np.ones(n_elements)
    flat = np.concatenate(indices).astype(np.int32)
    shape = (n_rows, n_features)
    return sparse.csr_matrix((values.astype(np.float32), flat, pointers), shape=shape)


def planted(
    seed: int,
    n_rows: int,
    n_features: int,
    *,
    longest: int,
    ones: bool = False,
    noise: float = 0.1,
) -> Problem:
    """Return a problem whose margins are X @ coef plus noise."""
    X = sparse_rows(seed, n_rows, n_features, longest=longest, ones=ones)
    rng = np.random.default_rng(seed + 1)
    coef = rng.standard_normal(n_features).astype(np.float32)
    margins = X @ coef + noise * rng.standard_normal(n_rows)
    labels = margins > np.median(margins)
    return Problem(X, coef, labels, margins.astype(np.float32))


def unsorted(X: Any, seed: int = 0) -> Any:
    """Return the same CSR rows, with the elements of each in another order."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    order = np.lexsort((rng.random(len(rows)), rows))
    return sparse.csr_matrix((X.data[order], X.indices[order], X.indptr), shape=X.shape)
