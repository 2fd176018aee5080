# SPDX-License-Identifier: BSD-3-Clause
"""Features numbered by frequency, so that the hot ones come first in every row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hybridtrain.data.arrays import Doubles
from hybridtrain.data.matrix import Matrix
from hybridtrain.parallel import over_ranges, worthwhile


def renumbered(
    matrix: Matrix, share: Doubles, n_hot_features: int, threads: int
) -> tuple[npt.NDArray[np.intp], Matrix, npt.NDArray[np.int32]]:
    """Copy sparse rows with features numbered by frequency, hot elements first.

    Features whose frequencies differ by less than a 128th may keep the user's order.

    Parameters
    ----------
    matrix : Matrix
        Sparse.
    share : float64 array (n_features,)
        How frequent each feature is: the weight of the rows that hold it.
    n_hot_features : int
        How many of the most frequent features are hot.
    threads : int

    Returns
    -------
    order : int array (n_features,)
        The old number of each new feature.
    renumbered : Matrix
    hot : int32 array (n_rows,)
        Hot elements of each row.
    """
    assert matrix.indices is not None
    # The first bits of a float32 that is not negative, in 16 bits, which are sorted by radix.
    frequency = (share.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    order = np.argsort(np.uint16(0x8000) - frequency, kind="stable")
    rank = np.empty(matrix.n_features, np.int32)
    rank[order] = np.arange(matrix.n_features, dtype=np.int32)
    indices = np.empty_like(matrix.indices)
    values = None if matrix.values is None else np.empty_like(matrix.values)
    hot = np.empty(matrix.n_rows, np.int32)
    source = matrix.rows()

    def renumber(first: int, last: int) -> None:
        source.renumber(rank, n_hot_features, first, last, indices, values, hot)

    over_ranges(renumber, matrix.n_rows, worthwhile(threads, matrix.n_elements))
    return order, replace(matrix, indices=indices, values=values, mapped=False), hot
