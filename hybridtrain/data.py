# SPDX-License-Identifier: BSD-3-Clause
"""Rows and targets: from what users have to what the core reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.rows import Rows
from hybridtrain.errors import InvalidDataError
from hybridtrain.machine import over_ranges

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
_Sums = tuple[int, float, float, float]
_MOST_FEATURES = (1 << 29) - 2
_FAULTS = {
    "pointers": "indptr decreases, or points outside the arrays",
    "index": "a column index is negative or >= the number of features",
    "value": "a value is NaN or infinite (as float32)",
}


@dataclass(frozen=True, slots=True)
class Csr:
    """A matrix as the core reads it.

    Attributes
    ----------
    pointers : int64 array (n_rows + 1,)
    indices : int32 array (n_elements,)
    values : float32 array (n_elements,) or None
        None: every value is 1.
    n_features : int
    copied : tuple of str
        What had to be copied, and why; empty when the user's arrays are read in place.
    """

    pointers: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: Floats | None
    n_features: int
    copied: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.pointers) - 1

    def rows(self, targets: Floats | None = None, weights: Floats | None = None) -> Rows:
        """Return the core's view, with none of the elements hot."""
        return Rows(self.n_features, self.pointers, self.indices, self.values, targets, weights)


def _describe(array: Any) -> str:
    kind = f"{type(array).__module__.split('.')[0]} {type(array).__name__}"
    shape = getattr(array, "shape", None)
    dtype = getattr(array, "dtype", None)
    return " ".join([kind, *(str(part) for part in (shape, dtype) if part is not None)])


def _contiguous(
    array: npt.NDArray[Any], dtype: type[np.generic], name: str, copied: list[str]
) -> npt.NDArray[Any]:
    result = np.ascontiguousarray(array, dtype=dtype)
    if result is not array and not np.shares_memory(result, array):
        copied.append(f"{name}: {array.dtype} to {np.dtype(dtype)}")
    return result


def canonical_rows(X: Any, *, threads: int, n_features: int | None = None) -> Csr:
    """Check a sparse matrix and bring it into the form that the core reads.

    CSR with float32 values and int32 indices, sorted and without duplicates, is
    read in place. Other sparse formats, value types and index types, unsorted
    and duplicate indices (which are summed) are copied.

    Parameters
    ----------
    X : SciPy sparse matrix or array (n_rows, n_features)
        Real values; all finite as float32.
    threads : int
        For the check.
    n_features : int, optional
        The number that a trained model expects.

    Returns
    -------
    Csr

    Raises
    ------
    InvalidDataError
        When it is not a sparse matrix of finite real numbers with valid
        indices, is empty, or has another number of features than expected.
    """
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    if not sparse.issparse(X):
        raise InvalidDataError(
            "X must be a SciPy sparse matrix (CSR is read in place), got "
            f"{_describe(X)}; convert it with scipy.sparse.csr_matrix(X)"
        )
    copied: list[str] = []
    if X.ndim != 2 or X.shape[0] < 1 or not 1 <= X.shape[1] <= _MOST_FEATURES:
        raise InvalidDataError(
            f"X must have at least one row and 1 .. {_MOST_FEATURES} features, got {_describe(X)}"
        )
    if n_features is not None and X.shape[1] != n_features:
        raise InvalidDataError(f"X must have {n_features} features, got {_describe(X)}")
    if X.dtype.kind not in "fiub":
        raise InvalidDataError(f"X must hold real numbers, got {_describe(X)}")
    if X.format != "csr":
        copied.append(f"X: {X.format} to csr")
        X = X.tocsr()
    csr = _canonical_arrays(X, copied)
    fault = _find_fault(csr, threads)
    if fault is not None and fault[0] == "order":
        copied.append("X: indices sorted, duplicates summed")
        X = X.copy()
        X.sum_duplicates()
        csr = _canonical_arrays(X, copied)
        fault = _find_fault(csr, threads)
    if fault is not None:
        raise InvalidDataError(f"X, row {fault[1]}: {_FAULTS[fault[0]]}; got {_describe(X)}")
    return csr


def _canonical_arrays(X: Any, copied: list[str]) -> Csr:
    # Row pointers are n_rows numbers: widening them is not worth a word.
    pointers = np.ascontiguousarray(X.indptr, dtype=np.int64)
    if len(pointers) != X.shape[0] + 1 or not 0 <= pointers[-1] <= min(len(X.indices), len(X.data)):
        raise InvalidDataError(f"X, row {X.shape[0] - 1}: {_FAULTS['pointers']}; {_describe(X)}")
    n_elements = int(pointers[-1])
    indices = X.indices[:n_elements]
    if indices.dtype != np.int32 and n_elements:
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= X.shape[1]:  # before they wrap around
            raise InvalidDataError(f"X: {_FAULTS['index']}: {low} .. {high}; got {_describe(X)}")
    return Csr(
        pointers,
        _contiguous(indices, np.int32, "indices", copied),
        _contiguous(X.data[:n_elements], np.float32, "values", copied),
        int(X.shape[1]),
        tuple(copied),
    )


def _find_fault(csr: Csr, threads: int) -> tuple[str, int] | None:
    rows = csr.rows()
    found = over_ranges(rows.find_fault, csr.n_rows, threads)
    return next((fault for fault in found if fault is not None), None)


def _vector(array: Any, n_rows: int, name: str) -> npt.NDArray[Any]:
    vector = np.asarray(array)
    if vector.ndim != 1 or len(vector) != n_rows:
        raise InvalidDataError(
            f"{name} must be one-dimensional with one value for each of the {n_rows} rows of X, "
            f"got {_describe(array)}"
            + (f"; use {name}.ravel()" if vector.size == n_rows and vector.ndim > 1 else "")
        )
    return vector


def class_targets(
    y: Any, n_rows: int, classes: npt.NDArray[Any] | None = None
) -> tuple[Floats, npt.NDArray[Any]]:
    """Turn labels of two classes into -1 and +1.

    Parameters
    ----------
    y : array-like (n_rows,)
        Labels of any type that can be sorted; no NaN.
    n_rows : int
    classes : array (2,), optional
        The classes to expect; None: those found.

    Returns
    -------
    targets : float32 array (n_rows,)
        -1 for the first class, +1 for the second.
    classes : array (2,)

    Raises
    ------
    InvalidDataError
        When there are not exactly two classes, or one is not expected, or NaN.
    """
    labels = _vector(y, n_rows, "y")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InvalidDataError(f"y must not hold NaN or infinity, got {_describe(y)}")
    found: npt.NDArray[Any]
    if labels.dtype.kind in "fiub":  # two passes; sorting all labels would take long
        found = np.array([labels.min(), labels.max()])
        if not ((labels == found[0]) | (labels == found[1])).all() or found[0] == found[1]:
            found = np.unique(labels)
    else:
        try:
            found = np.unique(labels)
        except TypeError as error:
            raise InvalidDataError(f"the labels in y cannot be sorted: {error}") from error
    if classes is None:
        if len(found) != 2:
            shown = ", ".join(repr(label) for label in found[:5].tolist())
            raise InvalidDataError(
                f"y must hold two classes for a classifier, found {len(found)}: {shown}"
                + (", ..." if len(found) > 5 else "")
                + ("; for one class against the rest pass y == label" if len(found) > 2 else "")
            )
        classes = found
    elif not np.isin(found, classes).all():
        unknown = found[~np.isin(found, classes)][0]
        raise InvalidDataError(
            f"y holds the class {unknown!r}; the model was trained on {classes.tolist()!r}"
        )
    return np.where(labels == classes[1], np.float32(1), np.float32(-1)), classes


def real_targets(y: Any, n_rows: int) -> Floats:
    """Turn numeric targets into float32.

    Raises
    ------
    InvalidDataError
        When they are not numbers, or not finite as float32.
    """
    vector = _vector(y, n_rows, "y")
    if vector.dtype.kind not in "fiub":
        raise InvalidDataError(f"y must hold real numbers for a regression, got {_describe(y)}")
    with np.errstate(over="ignore"):
        targets = np.ascontiguousarray(vector, dtype=np.float32)
    if not np.isfinite(targets).all():
        raise InvalidDataError(f"y must not hold NaN or infinity (as float32), got {_describe(y)}")
    return targets


def sample_weights(weight: Any, n_rows: int) -> Floats | None:
    """Scale sample weights to mean 1; None when they are all equal.

    Raises
    ------
    InvalidDataError
        When they are not finite numbers >= 0 with a positive sum.
    """
    vector = _vector(weight, n_rows, "sample_weight")
    if vector.dtype.kind not in "fiub":
        raise InvalidDataError(f"sample_weight must hold real numbers, got {_describe(weight)}")
    doubles = vector.astype(np.float64)
    if not np.isfinite(doubles).all() or doubles.min() < 0 or doubles.sum() <= 0:
        raise InvalidDataError(
            "sample_weight must be finite, >= 0 and not all 0, got values in "
            f"{doubles.min()} .. {doubles.max()}"
        )
    if doubles.min() == doubles.max():
        return None
    scaled: Floats = (doubles / doubles.mean()).astype(np.float32)
    return scaled


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the rows; facts of disjoint rows add up.

    Attributes
    ----------
    n_rows, n_elements : int
    n_ones : int
        Elements equal to 1.
    norm2, l1, norm : float
        Sums over rows of weight times squared norm, times 1-norm, and times the
        norm of the row with its intercept.
    share : float64 array (n_features,) or None
        Sum of the weights of the rows that hold a feature.
    curvature : float64 array (n_features,) or None
        Sum over rows of ``s |x_j|`` times the norm of the row with its intercept.
    """

    n_rows: int
    n_elements: int
    n_ones: int
    norm2: float
    l1: float
    norm: float
    share: Doubles | None = field(default=None)
    curvature: Doubles | None = field(default=None)


def count_rows(
    rows: Rows, *, intercept: bool, columns: bool, threads: int, ranges: int | None = None
) -> Facts:
    """Gather the facts of all rows.

    Parameters
    ----------
    rows : Rows
        Checked, with weights of mean 1.
    intercept : bool
        Whether every row also holds an intercept of value 1.
    columns : bool
        Whether to gather the facts of features, too; most of the time goes there.
    threads : int
    ranges : int, optional
        Ranges of rows that are counted one by one and added up; None: as many as
        threads. The sums' bits depend on it.

    Returns
    -------
    Facts
    """
    n_rows, n_features = rows.shape

    def count(first: int, last: int) -> tuple[_Sums, Doubles, Doubles]:
        size = n_features if columns else 0
        share, curvature = np.zeros(size), np.zeros(size)
        pair = (share, curvature) if columns else (None, None)
        return rows.count(first, last, intercept, *pair), share, curvature

    parts = over_ranges(count, n_rows, threads, ranges)
    sums: Sequence[_Sums] = [part[0] for part in parts]
    return Facts(
        n_rows,
        rows.n_elements,
        sum(s[0] for s in sums),
        sum(s[1] for s in sums),
        sum(s[2] for s in sums),
        sum(s[3] for s in sums),
        sum((part[1] for part in parts[1:]), start=parts[0][1]) if columns else None,
        sum((part[2] for part in parts[1:]), start=parts[0][2]) if columns else None,
    )


def largest_values(rows: Rows, *, threads: int) -> Floats:
    """Return the largest ``|x|`` of each column; 0 for a column that no row holds."""
    n_rows, n_features = rows.shape

    def find(first: int, last: int) -> Floats:
        largest = np.zeros(n_features, np.float32)
        rows.raise_largest(first, last, largest)
        return largest

    largest: Floats = np.maximum.reduce(over_ranges(find, n_rows, threads))
    return largest
