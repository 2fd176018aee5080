# SPDX-License-Identifier: BSD-3-Clause
"""The arrays of SciPy's sparse formats: checked before any library computes with them.

SciPy checks its arrays when it makes a matrix, but not when a program sets them
afterwards or loads them from a file, and its C++ trusts them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridtrain.data.arrays import REAL, describe, is_mapped
from hybridtrain.data.sparse_formats import (
    READERS,
    Compressed,
    from_scipy,
    require_compressed,
    scipy_csr,
)
from hybridtrain.errors import InvalidDataError, OutOfMemoryError
from hybridtrain.machine import available_memory

_LARGE_NBYTES = 1 << 28


def sparse_shape(X: Any) -> tuple[int, ...]:
    """Return the shape that a sparse matrix claims to have, as ints.

    Raises
    ------
    InvalidDataError
        When it is no tuple of whole numbers >= 0.
    """
    shape = getattr(X, "shape", None)
    if not isinstance(shape, tuple) or not all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 0 for n in shape
    ):
        raise InvalidDataError(
            f"X.shape must hold whole numbers >= 0, got {shape!r}: make the matrix anew"
        )
    return tuple(int(n) for n in shape)


def compressed(X: Any) -> Compressed:
    """Return the rows of any sparse matrix.

    Parameters
    ----------
    X : SciPy sparse matrix or array (n_rows, n_features)
        Of any format; its arrays may hold anything. An object with the attributes of
        one of SciPy's formats is also read, such as the arrays of a file.

    Returns
    -------
    Compressed
        Of CSR the matrix's own arrays. Their types and lengths are checked; whether
        pointers decrease and indices are in range is not: see `require_bounds`.
        Of another format all is checked.

    Raises
    ------
    InvalidDataError
        When an array is not what the format needs; the message names the array,
        the place and what was found.
    OutOfMemoryError
        When the rows of another format do not fit into memory as CSR.
    """
    shape = sparse_shape(X)
    if len(shape) != 2:
        raise InvalidDataError(f"X must be two-dimensional, rows by features, got {describe(X)}")
    _require_real(X)
    read = READERS.get(X.format)
    if read is None:
        raise InvalidDataError(
            f"X must be one of {', '.join(READERS)}, got the format {X.format!r}: use X.tocsr()"
        )
    if X.format != "csr":
        _require_memory(X, 3 * 8 * shape[0])
    rows: Compressed = read(X, (shape[0], shape[1]))
    return rows


def _require_real(X: Any) -> None:
    dtype = getattr(X, "dtype", None)  # of most formats that of X.data, which may be no array
    if isinstance(dtype, np.dtype) and dtype.kind not in REAL:
        raise InvalidDataError(f"X must hold real numbers, got {describe(X)}")


def _require_memory(X: Any, needed: int) -> None:
    """Refuse pointers to rows that do not fit into memory: a shape is easily claimed."""
    if needed < _LARGE_NBYTES:
        return
    available = available_memory()
    if available is not None and needed > available:
        raise OutOfMemoryError(
            f"X as CSR needs {needed:,} bytes for its row pointers, {available:,} are available; "
            f"got {describe(X)}",
            needed=needed,
            available=available,
        )


def require_bounds(rows: Compressed) -> None:
    """Refuse pointers that decrease and column indices outside the matrix.

    Raises
    ------
    InvalidDataError
        With the row and what was found there.
    """
    require_compressed(rows.pointers, rows.indices, rows.shape)


def sound_csr(X: Any) -> Any:
    """Return a sparse matrix as CSR on which SciPy's functions stay within the arrays.

    Parameters
    ----------
    X : SciPy sparse matrix or array (n_rows, n_features)

    Returns
    -------
    X itself when it is CSR, else a copy as CSR

    Raises
    ------
    InvalidDataError, OutOfMemoryError
        As `compressed`.
    """
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    rows = compressed(X)
    if X.format == "csr":
        require_bounds(rows)
    return X if X.format == "csr" and sparse.issparse(X) else scipy_csr(rows)


def summed(rows: Compressed) -> Compressed:
    """Return the rows with sorted indices and duplicates added up; a copy unless they are so.

    Raises
    ------
    InvalidDataError
        As `require_bounds`.
    """
    if is_mapped(rows.indices):  # they may change once they are checked
        rows = rows._replace(indices=rows.indices.copy())
    require_bounds(rows)
    matrix = scipy_csr(rows)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return from_scipy(matrix)
