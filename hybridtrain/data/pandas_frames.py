# SPDX-License-Identifier: BSD-3-Clause
"""pandas frames as rows, without importing pandas: names, types, missing values."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data.arrays import REAL
from hybridtrain.errors import InvalidDataError

_MOST_NAMED = 5
_POINTER_NBYTES, _ELEMENT_NBYTES, _DENSE_NBYTES = 8, 8, 4
_Column = tuple[npt.NDArray[Any], npt.NDArray[Any]]  # rows that hold it, and their values


def is_frame(X: Any) -> bool:
    """Whether X is a pandas DataFrame: then its owner has imported pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(X, pandas.DataFrame)


def feature_names(frame: Any) -> tuple[str, ...] | None:
    """Return the names of a frame's columns as text; None when they are numbers 0, 1, ...

    Parameters
    ----------
    frame : pandas.DataFrame (n_rows, n_features)

    Returns
    -------
    tuple of str, or None
        Names of other types, such as tuples or dates, as `str` writes them.
    """
    names = list(frame.columns)
    is_numbered = all(isinstance(name, int | np.integer) for name in names)
    if is_numbered and names == list(range(len(names))):
        return None
    return tuple(map(str, names))


def ordered_columns(frame: Any, names: tuple[str, ...]) -> Any:
    """Return the frame with its columns in the order of a model's names.

    Parameters
    ----------
    frame : pandas.DataFrame
        Whose columns may stand in any order; columns numbered 0, 1, ... are taken
        as they stand.
    names : tuple of str
        Of the model.

    Returns
    -------
    pandas.DataFrame
        The same frame when the order is right.

    Raises
    ------
    InvalidDataError
        When names are missing, unknown, or there twice.
    """
    own = feature_names(frame)
    if own is None or own == names:
        return frame
    return frame.iloc[:, order_of(own, names)]


def order_of(own: tuple[str, ...], names: tuple[str, ...]) -> list[int]:
    """Return where each of the names stands among others.

    Parameters
    ----------
    own : tuple of str
        Of X.
    names : tuple of str
        Of the model, in its order.

    Raises
    ------
    InvalidDataError
        When names are missing, unknown, or there twice.
    """
    twice = {name: n for side in (own, names) for name, n in Counter(side).items() if n > 1}
    if twice:
        raise InvalidDataError(
            "X must have columns of different names to be matched by name, got "
            f"{_named(list(twice))} more than once; rename them, or give an array"
        )
    places = {name: k for k, name in enumerate(own)}
    missing = [name for name in names if name not in places]
    known = set(names)
    unknown = [name for name in own if name not in known]
    if missing or unknown:
        faults = [("missing", missing), ("unknown", unknown)]
        raise InvalidDataError(
            f"X must have the {len(names)} columns that the model was trained on, got "
            + " and ".join(f"{len(some)} {word}: {_named(some)}" for word, some in faults if some)
        )
    return [places[name] for name in names]


def has_sparse_columns(frame: Any) -> bool:
    """Whether some columns of a frame are of a sparse type."""
    return any(_is_sparse(dtype) for dtype in frame.dtypes)


def frame_rows(frame: Any) -> Any:
    """Turn a frame into a matrix.

    Parameters
    ----------
    frame : pandas.DataFrame (n_rows, n_features)
        Numeric and bool columns, nullable and sparse ones too; no missing values.

    Returns
    -------
    float32 array (n_rows, n_features), C order; or CSR with values of the columns' types
        CSR when all columns are sparse, or when some are and CSR takes less memory.

    Raises
    ------
    InvalidDataError
        When a column is of another type or misses values; the message names it.
    """
    types = list(frame.dtypes)
    others = [k for k, dtype in enumerate(types) if not _is_real(dtype)]
    if others:
        _refuse_missing(frame, others)
        raise _of_other_type(frame, others)
    if any(map(_is_sparse, types)):
        return _rows_of_sparse(frame, types)
    _refuse_missing(frame, None)
    with np.errstate(over="ignore"):  # the check of the rows finds what became infinite
        return np.ascontiguousarray(frame.to_numpy(dtype=np.float32))


def refuse_misread(frame: Any) -> None:
    """Refuse columns of dates, durations and complex numbers, which NumPy takes for real ones.

    Raises
    ------
    InvalidDataError
        With their names.
    """
    others = [k for k, dtype in enumerate(frame.dtypes) if getattr(dtype, "kind", "O") in "mMc"]
    if others:
        raise _of_other_type(frame, others)


def _of_other_type(frame: Any, columns: list[int]) -> InvalidDataError:
    shown = _named([(str(frame.columns[k]), frame.dtypes.iloc[k]) for k in columns])
    return InvalidDataError(
        f"X must have numeric and bool columns, got {shown}; leave them out, or encode them, "
        "such as with pandas.get_dummies(X, sparse=True, dtype='float32')"
    )


def _rows_of_sparse(frame: Any, types: list[Any]) -> Any:
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    _refuse_missing(frame, [k for k, dtype in enumerate(types) if not _is_sparse(dtype)])
    columns = [_column(frame, k) for k in range(len(types))]
    lengths = [len(values) for _, values in columns]
    n_rows, n_elements = len(frame), sum(lengths)
    nbytes = _ELEMENT_NBYTES * n_elements + _POINTER_NBYTES * n_rows
    if not all(map(_is_sparse, types)) and nbytes > _DENSE_NBYTES * n_rows * len(types):
        rows = np.zeros((n_rows, len(types)), np.float32)
        with np.errstate(over="ignore"):
            for k, (held, values) in enumerate(columns):
                rows[held, k] = values
        return rows
    pointers = np.concatenate([[0], np.cumsum(lengths)])
    dtype = np.result_type(np.float32, *{values.dtype for _, values in columns})
    values = np.concatenate([values.astype(dtype) for _, values in columns])
    held = np.concatenate([held for held, _ in columns])
    return sparse.csc_matrix((values, held, pointers), shape=frame.shape).tocsr()


def _column(frame: Any, k: int) -> _Column:
    """Return the rows that hold another value than 0 in a column, and these values."""
    array = frame.iloc[:, k].array
    dtype = array.dtype
    if not _is_sparse(dtype):
        dense = array.to_numpy(dtype=np.float64 if dtype.itemsize > 4 else np.float32)
    elif dtype.fill_value == 0:
        held, values = array.sp_index.to_int_index().indices, array.sp_values
        if values.dtype.kind == "f" and np.isnan(values).any():
            _refuse_missing(frame, [k])
        return held, values
    else:
        dense = array.to_dense()
        if dense.dtype.kind == "f" and np.isnan(dense).any():
            _refuse_missing(frame, [k])
    held = np.flatnonzero(dense)
    return held, dense[held]


def _refuse_missing(frame: Any, columns: list[int] | None) -> None:
    """Refuse missing values in some columns, None: in all, with count, column and row."""
    part = frame if columns is None else frame.iloc[:, columns]
    is_missing = part.isna().to_numpy()
    if not is_missing.any():
        return
    counts = is_missing.sum(axis=0)
    k = int(np.argmax(counts > 0))
    elsewhere = int((counts > 0).sum()) - 1
    raise InvalidDataError(
        f"X must not miss values, got {counts[k]} in column {str(part.columns[k])!r}, the first in "
        f"row {int(np.argmax(is_missing[:, k]))}"
        + (f", and {int(counts.sum() - counts[k])} in {elsewhere} others" if elsewhere else "")
        + "; fill them, or leave out the column or the rows"
    )


def _named(items: list[Any]) -> str:
    """Show names, or names with a type, of the first few columns."""
    shown = [
        f"{item[0]!r} ({item[1]})" if isinstance(item, tuple) else repr(item)
        for item in items[:_MOST_NAMED]
    ]
    more = len(items) - _MOST_NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _is_real(dtype: Any) -> bool:
    """Whether a column's type, also a nullable or sparse one, is of real numbers."""
    return getattr(dtype, "kind", "O") in REAL


def _is_sparse(dtype: Any) -> bool:
    return hasattr(dtype, "fill_value")
