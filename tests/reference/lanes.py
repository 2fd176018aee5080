# SPDX-License-Identifier: BSD-3-Clause
"""Reference of the dot product of ht_linear_sparse_racy.c: 16 float32 lanes and a fixed tree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LANES = 16
Floats = npt.NDArray[np.float32]


def tree(lanes: Floats) -> np.float32:
    """Add 16 lanes: halves are added, 16 -> 8 -> 4 -> 2 -> 1."""
    eight = lanes[:8] + lanes[8:]
    four = eight[:4] + eight[4:]
    two = four[:2] + four[2:]
    return np.float32(two[0] + two[1])


def dot(w: Floats, x: Floats | None) -> np.float32:
    """Return sum of w * x; lane k % 16 takes element k; x None: every value is 1."""
    products = np.zeros(-(-len(w) // LANES) * LANES, np.float32)
    products[: len(w)] = w if x is None else w * x
    lanes = np.zeros(LANES, np.float32)
    for block in products.reshape(-1, LANES):
        lanes = lanes + block
    return tree(lanes)


def norm2(x: npt.NDArray[np.float32]) -> np.float32:
    """Return the squared norm of a row, added up in four parts."""
    parts = np.zeros(4, np.float32)
    for i, value in enumerate(x):
        parts[i % 4] += value * value
    return np.float32(parts[0] + parts[1] + (parts[2] + parts[3]))
