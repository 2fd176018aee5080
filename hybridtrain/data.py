# SPDX-License-Identifier: BSD-3-Clause
"""Rows and targets: from what users have to what the core reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.rows import MAX_CLASSES, Rows
from hybridtrain.classes import check_same_type, class_numbers
from hybridtrain.errors import InvalidDataError
from hybridtrain.frames import frame_rows, is_frame
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
class Matrix:
    """A matrix as the core reads it: CSR, or dense.

    Attributes
    ----------
    pointers : int64 array (n_rows + 1,) or None
    indices : int32 array (n_elements,) or None
        None, both: the matrix is dense.
    values : float32 array (n_elements,) or None
        None: every value is 1. Of a dense matrix, row after row.
    n_features : int
    copied : tuple of str
        What had to be copied, and why; empty when the user's arrays are read in place.
    """

    pointers: npt.NDArray[np.int64] | None
    indices: npt.NDArray[np.int32] | None
    values: Floats | None
    n_features: int
    copied: tuple[str, ...] = ()

    @property
    def is_dense(self) -> bool:
        """Whether every row holds every column."""
        return self.pointers is None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        if self.pointers is not None:
            return len(self.pointers) - 1
        assert self.values is not None
        return len(self.values) // self.n_features

    @property
    def n_elements(self) -> int:
        """Number of values held."""
        if self.indices is not None:
            return len(self.indices)
        assert self.values is not None
        return len(self.values)

    def rows(self, targets: Floats | None = None, weights: Floats | None = None) -> Rows:
        """Return the core's view, with none of the elements hot."""
        return Rows(self.n_features, self.pointers, self.indices, self.values, targets, weights)

    def take(self, which: npt.NDArray[Any]) -> Matrix:
        """Copy some rows.

        Parameters
        ----------
        which : bool array (n_rows,) or int array
        """
        return self._from_user_form(self.user_form()[which])

    def user_form(self) -> Any:
        """Return a SciPy CSR or NumPy matrix over the same arrays."""
        if self.is_dense:
            assert self.values is not None
            return self.values.reshape(self.n_rows, self.n_features)
        from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

        assert self.indices is not None
        values = np.ones(len(self.indices), np.float32) if self.values is None else self.values
        return sparse.csr_matrix(
            (values, self.indices, self.pointers), shape=(self.n_rows, self.n_features), copy=False
        )

    def _from_user_form(self, matrix: Any) -> Matrix:
        if self.is_dense:
            return Matrix(None, None, matrix.ravel(), self.n_features, self.copied)
        return Matrix(
            matrix.indptr.astype(np.int64),
            matrix.indices.astype(np.int32, copy=False),
            matrix.data,
            self.n_features,
            self.copied,
        )


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


def canonical_rows(X: Any, *, threads: int, n_features: int | None = None) -> Matrix:
    """Check a matrix and bring it into the form that the core reads.

    CSR with float32 values and int32 indices, sorted and without duplicates, and
    dense C-ordered float32 are read in place. Other sparse formats, orders, value
    and index types, unsorted and duplicate indices (which are summed) are copied.

    Parameters
    ----------
    X : SciPy sparse matrix or array, or NumPy array (n_rows, n_features)
        Real values; all finite as float32.
    threads : int
        For the check.
    n_features : int, optional
        The number that a trained model expects.

    Returns
    -------
    Matrix

    Raises
    ------
    InvalidDataError
        When it is not a matrix of finite real numbers with valid indices, is
        empty, or has another number of features than expected.
    """
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    copied: list[str] = []
    if is_frame(X):
        X = frame_rows(X)
        copied.append("X: pandas DataFrame to float32 rows")
    is_sparse = sparse.issparse(X)
    if not is_sparse and not isinstance(X, np.ndarray):
        raise InvalidDataError(
            "X must be a SciPy sparse matrix, a two-dimensional NumPy array or a pandas frame, got "
            f"{_describe(X)}; convert it with numpy.asarray(X)"
        )
    if X.ndim != 2:
        raise InvalidDataError(
            f"X must be two-dimensional, rows by features, got {_describe(X)}"
            + ("; one feature is X.reshape(-1, 1)" if X.ndim == 1 else "")
        )
    if isinstance(X, np.ma.MaskedArray):
        raise InvalidDataError(
            f"X must not be masked, as the model has no missing values, got {_describe(X)}; "
            "fill them: X.filled(0)"
        )
    if X.shape[0] < 1 or not 1 <= X.shape[1] <= _MOST_FEATURES:
        raise InvalidDataError(
            f"X must have at least one row and 1 .. {_MOST_FEATURES} features, got {_describe(X)}"
        )
    if n_features is not None and X.shape[1] != n_features:
        raise InvalidDataError(f"X must have {n_features} features, got {_describe(X)}")
    if X.dtype.kind not in "fiub":
        raise InvalidDataError(f"X must hold real numbers, got {_describe(X)}")
    matrix, fault = (_canonical_csr if is_sparse else _canonical_dense)(X, threads, copied)
    if fault is not None:
        raise InvalidDataError(f"X, row {fault[1]}: {_FAULTS[fault[0]]}; got {_describe(X)}")
    return matrix


_Fault = tuple[str, int] | None


def _canonical_dense(X: Any, threads: int, copied: list[str]) -> tuple[Matrix, _Fault]:
    if not X.flags.c_contiguous:
        copied.append("X: to C order")
    if X.dtype != np.float32:
        copied.append(f"X: {X.dtype} to float32")
    with np.errstate(over="ignore"):  # the check finds what became infinite
        values = np.ascontiguousarray(X, dtype=np.float32).ravel()
    matrix = Matrix(None, None, values, int(X.shape[1]), tuple(copied))
    return matrix, _find_fault(matrix, threads)


def _canonical_csr(X: Any, threads: int, copied: list[str]) -> tuple[Matrix, _Fault]:
    if X.format != "csr":
        copied.append(f"X: {X.format} to csr")
        X = X.tocsr()
    matrix = _canonical_arrays(X, copied)
    fault = _find_fault(matrix, threads)
    if fault is not None and fault[0] == "order":
        copied.append("X: indices sorted, duplicates summed")
        X = X.copy()
        X.sum_duplicates()
        matrix = _canonical_arrays(X, copied)
        fault = _find_fault(matrix, threads)
    return matrix, fault


def _canonical_arrays(X: Any, copied: list[str]) -> Matrix:
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
    return Matrix(
        pointers,
        _contiguous(indices, np.int32, "indices", copied),
        _contiguous(X.data[:n_elements], np.float32, "values", copied),
        int(X.shape[1]),
        tuple(copied),
    )


def _find_fault(matrix: Matrix, threads: int) -> _Fault:
    found = over_ranges(matrix.rows().find_fault, matrix.n_rows, threads)
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
    y: Any, n_rows: int, classes: npt.NDArray[Any] | None = None, *, loss: str = "logistic"
) -> tuple[Floats, npt.NDArray[Any]]:
    """Turn labels into what a loss of classes expects.

    Parameters
    ----------
    y : array-like (n_rows,)
        Labels of any type that can be sorted; no NaN.
    n_rows : int
    classes : array (n_classes,), optional
        The classes to expect; None: those found.
    loss : str
        "softmax" for two classes or more, else the name of a loss of two.

    Returns
    -------
    targets : float32 array (n_rows,)
        0, 1, ... for softmax; -1 for the first of two classes, +1 for the second.
    classes : array (n_classes,)

    Raises
    ------
    InvalidDataError
        When the number of classes does not go with the loss, or a class is not
        expected, or NaN.
    """
    labels = _vector(y, n_rows, "y")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InvalidDataError(f"y must not hold NaN or infinity, got {_describe(y)}")
    found = _classes_of(labels)
    if classes is None:
        _check_number_of_classes(found, loss)
        classes = found
    else:
        check_same_type(found, classes)
        if not np.isin(found, classes).all():
            unknown = found[~np.isin(found, classes)].tolist()[0]
            raise InvalidDataError(
                f"y holds the class {unknown!r}; the model was trained on {classes.tolist()!r}"
            )
    if loss == "softmax":
        return class_numbers(labels, classes).astype(np.float32), classes
    return np.where(labels == classes[1], np.float32(1), np.float32(-1)), classes


def _classes_of(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if labels.dtype.kind in "fiub":  # two passes; sorting all labels would take long
        ends = np.array([labels.min(), labels.max()])
        if ends[0] != ends[1] and ((labels == ends[0]) | (labels == ends[1])).all():
            return ends
    try:
        return np.unique(labels)
    except TypeError as error:
        raise InvalidDataError(f"the labels in y cannot be sorted: {error}") from error


def _check_number_of_classes(found: npt.NDArray[Any], loss: str) -> None:
    most = MAX_CLASSES if loss == "softmax" else 2
    if 2 <= len(found) <= most:
        return
    shown = ", ".join(repr(label) for label in found[:5].tolist())
    expected = f"2 to {most} classes" if loss == "softmax" else "two classes"
    advice = ""
    if len(found) > 2 and loss != "softmax":
        advice = '; use loss="softmax", or for one class against the rest pass y == label'
    raise InvalidDataError(
        f"y must hold {expected} for {loss} loss, found {len(found)}: {shown}"
        + (", ..." if len(found) > 5 else "")
        + advice
    )


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
            "sample_weight must be finite, >= 0 and not all zero, got values in "
            f"{doubles.min()} .. {doubles.max()}"
        )
    if doubles.min() == doubles.max():
        return None
    scaled: Floats = (doubles / doubles.mean()).astype(np.float32)
    return scaled
