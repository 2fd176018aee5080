# SPDX-License-Identifier: BSD-3-Clause
"""Rows of users, converted to the form that the core reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.check import CHANGED_REMEDY
from hybridtrain._core.rows import Rows
from hybridtrain.data.arrays import (
    REAL,
    Doubles,
    Floats,
    contiguous,
    describe,
    is_mapped,
    require_unmasked,
)
from hybridtrain.data.collections import is_collection
from hybridtrain.data.exact_rows import ExactRows
from hybridtrain.data.pandas_frames import (
    feature_names,
    frame_rows,
    has_sparse_columns,
    is_frame,
    ordered_columns,
)
from hybridtrain.data.rounding import (
    is_narrowed,
    lost_in_dense,
    lost_in_sparse,
    lost_text,
    sampled,
    sampled_elements,
)
from hybridtrain.data.sparse_arrays import compressed, require_bounds, sparse_shape, summed
from hybridtrain.data.sparse_formats import INDEX_FAULT, POINTERS_FAULT, Compressed
from hybridtrain.errors import DataChangedError, InvalidDataError
from hybridtrain.machine import usable_cores
from hybridtrain.parallel import over_ranges, worthwhile

__all__ = ["Doubles", "Floats", "Matrix", "canonical_rows"]
_MOST_FEATURES = (1 << 29) - 2
_FAULTS = {
    "pointers": POINTERS_FAULT,
    "index": INDEX_FAULT,
    "value": "a value is NaN or infinite (as float32)",
}

_Fault = tuple[str, int] | None  # what is wrong, and the row


@dataclass(frozen=True, slots=True)
class Matrix:
    """Hold a matrix in the form that the core reads: CSR, or dense.

    Attributes
    ----------
    pointers : int64 array (n_rows + 1,) or None
    indices : int32 array (n_elements,) or None
        Pointers and indices are None if the matrix is dense.
    values : float32 array (n_elements,) or None
        None: every value is 1. Of a dense matrix, row after row.
    n_features : int
    copied : tuple of str
        The copies that were made, with reasons; empty when the user's arrays are read in
        place.
    mapped : bool
        Whether the indices lie in a mapped file that another process may change. They are
        then checked again whenever they are read, and the pointers are a copy.
    names : tuple of str or None
        Names of the features; None when the user's matrix had no names.
    warnings : tuple of str
        Texts about the conversion, for the user.
    exact : ExactRows or None
        The user's own rows, where they are dense; `values` are a conversion of them, or the
        same array.
    lost : str
        Text on columns whose variation is lost in `values` and not in `exact`; else empty.
    """

    pointers: npt.NDArray[np.int64] | None
    indices: npt.NDArray[np.int32] | None
    values: Floats | None
    n_features: int
    copied: tuple[str, ...] = ()
    mapped: bool = False
    names: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()
    exact: ExactRows | None = None
    lost: str = ""

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

    def rows(
        self,
        targets: Floats | None = None,
        weights: Floats | None = None,
        reach: Floats | None = None,
    ) -> Rows:
        """Return the core's view, with none of the elements hot."""
        return Rows(
            self.n_features,
            self.pointers,
            self.indices,
            self.values,
            targets,
            weights,
            mapped=self.mapped,
            reach=reach,
        )

    def take(self, which: npt.NDArray[Any] | slice) -> Matrix:
        """Return some rows: copies, but views of a slice.

        Parameters
        ----------
        which : bool array (n_rows,), int array or slice
            A slice has no step.

        Raises
        ------
        DataChangedError
            When the rows of a mapped file are no longer sound.
        """
        taken = self._taken(which)
        if self.mapped and _find_fault(taken, usable_cores()) is not None:
            raise DataChangedError(f"X: rows changed since they were checked; {CHANGED_REMEDY}")
        return taken

    def held_columns(self) -> tuple[Matrix, npt.NDArray[np.intp]]:
        """Return sparse rows without names and columns that no row holds, and the kept columns."""
        assert self.indices is not None
        is_held = np.zeros(self.n_features, np.bool_)
        is_held[self.indices] = True
        kept = np.flatnonzero(is_held)
        rank = np.cumsum(is_held, dtype=np.int32) - 1
        narrow = replace(self, indices=rank[self.indices], n_features=len(kept), names=None)
        return narrow, kept

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

    def _taken(self, which: npt.NDArray[Any] | slice) -> Matrix:
        if isinstance(which, slice) and self.pointers is not None:
            return self._part(*which.indices(self.n_rows)[:2])
        matrix = self.user_form()[which]
        if self.is_dense:
            exact = None if self.exact is None else self.exact.take(which)
            return replace(self, values=matrix.ravel(), exact=exact)
        return replace(
            self,
            pointers=matrix.indptr.astype(np.int64),
            indices=matrix.indices.astype(np.int32, copy=False),
            values=matrix.data,
            mapped=False,
        )

    def _part(self, first: int, last: int) -> Matrix:
        """Return rows first .. last-1 of sparse rows, as views of their elements."""
        assert self.pointers is not None
        assert self.indices is not None
        pointers = self.pointers[first : last + 1]
        elements = slice(int(pointers[0]), int(pointers[-1]))
        return replace(
            self,
            pointers=pointers - pointers[0],
            indices=self.indices[elements],
            values=None if self.values is None else self.values[elements],
        )


def _contiguous(
    array: npt.NDArray[Any], dtype: type[np.generic], name: str, copied: list[str]
) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):  # the check finds what became infinite
        result = contiguous(array, dtype)
    if result is not array and not np.shares_memory(result, array):
        copied.append(f"{name}: {array.dtype} to {np.dtype(dtype)}")
    return result


def canonical_rows(
    X: Any,
    *,
    threads: int,
    n_features: int | None = None,
    names: tuple[str, ...] | None = None,
    warns: bool = False,
) -> Matrix:
    """Check a matrix and bring it into the form that the core reads.

    CSR with float32 values and int32 indices, in any order within a row, and dense
    C-ordered float32 are read in place. Other sparse formats, value and index types,
    and orders of dense values are copied, and so are rows that hold a column twice:
    its values are summed.

    Parameters
    ----------
    X : SciPy sparse matrix or array, NumPy array or pandas frame (n_rows, n_features)
        Real values; all finite as float32.
    threads : int
        For the check.
    n_features : int, optional
        The number that a trained model expects.
    names : tuple of str, optional
        The names that a trained model expects of a frame with names.
    warns : bool
        Whether to look for columns whose variation is lost when they become float32.

    Returns
    -------
    Matrix

    Raises
    ------
    InvalidDataError
        When X is not a matrix of finite real numbers with valid indices, is
        empty, or has another number of features or other names than expected.
    """
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    if is_frame(X):
        return _frame_matrix(X, threads, n_features, names, warns)
    copied: list[str] = []
    is_sparse = sparse.issparse(X)
    if not is_sparse and not isinstance(X, np.ndarray):
        remedy = "convert it with numpy.asarray(X)"
        if is_collection(X):
            remedy = "train on its cluster with nodes=client, or pass X.compute()"
        raise InvalidDataError(
            "X must be a SciPy sparse matrix, a two-dimensional NumPy array or a pandas frame, got "
            f"{describe(X)}; {remedy}"
        )
    shape = sparse_shape(X) if is_sparse else X.shape
    if len(shape) != 2:
        raise InvalidDataError(
            f"X must be two-dimensional, rows by features, got {describe(X)}"
            + ("; one feature is X.reshape(-1, 1)" if len(shape) == 1 else "")
        )
    require_unmasked(X)
    if shape[0] < 1 or not 1 <= shape[1] <= _MOST_FEATURES:
        raise InvalidDataError(
            f"X must have at least one row and 1 .. {_MOST_FEATURES} features, got {describe(X)}"
        )
    if n_features is not None and shape[1] != n_features:
        raise InvalidDataError(f"X must have {n_features} features, got {describe(X)}")
    if not is_sparse and X.dtype.kind not in REAL:
        raise InvalidDataError(f"X must hold real numbers, got {describe(X)}")
    lost: dict[int, str] | None = {} if warns else None
    matrix, fault = (_canonical_csr if is_sparse else _canonical_dense)(X, threads, copied, lost)
    if fault is not None:
        raise InvalidDataError(f"X, {_fault_text(matrix, *fault)}; got {describe(X)}")
    return replace(matrix, lost=lost_text(lost, names)) if lost else matrix


def _frame_matrix(
    frame: Any,
    threads: int,
    n_features: int | None,
    names: tuple[str, ...] | None,
    warns: bool,
) -> Matrix:
    """Return a frame's rows, with its columns in the order of the names."""
    if names is not None:
        frame = ordered_columns(frame, names)
    rows = frame_rows(frame)
    own = feature_names(frame)
    matrix = canonical_rows(rows, threads=threads, n_features=n_features, names=own, warns=warns)
    warnings, lost = matrix.warnings, matrix.lost
    exact = ExactRows(frame) if matrix.is_dense else None
    if warns and exact is not None:
        columns = lost_in_dense(exact.read_some(sampled(matrix.n_rows, matrix.n_features)))
        lost = lost_text(columns, own) if columns else ""
    if matrix.is_dense and has_sparse_columns(frame):
        warnings += (
            f"X is a frame with sparse columns, but is held dense, {rows.nbytes / 1e6:,.1f} MB: "
            "with its dense columns it would take more as CSR",
        )
    return replace(
        matrix,
        copied=("X: pandas DataFrame to float32 rows", *matrix.copied),
        names=own,
        warnings=warnings,
        exact=exact,
        lost=lost,
    )


def _canonical_dense(
    X: Any, threads: int, copied: list[str], lost: dict[int, str] | None
) -> tuple[Matrix, _Fault]:
    if lost is not None and is_narrowed(X.dtype):
        lost.update(lost_in_dense(X[sampled(*X.shape)]))
    if not X.flags.c_contiguous:
        copied.append("X: to C order")
    if X.dtype != np.float32:
        copied.append(f"X: {X.dtype} to float32")
    with np.errstate(over="ignore"):  # the check finds what became infinite
        values = contiguous(X, np.float32).ravel()
    exact = ExactRows(np.asarray(X))
    matrix = Matrix(None, None, values, int(X.shape[1]), tuple(copied), exact=exact)
    return matrix, _find_fault(matrix, threads)


def _canonical_csr(
    X: Any, threads: int, copied: list[str], lost: dict[int, str] | None
) -> tuple[Matrix, _Fault]:
    if X.format != "csr":
        copied.append(f"X: {X.format} to csr")
    rows = compressed(X)
    matrix = _narrow(rows, copied)
    fault = _find_fault(matrix, threads)
    if fault is not None and fault[0] == "duplicate":
        copied.append("X: indices sorted, duplicates summed")
        rows = summed(rows)
        matrix = _narrow(rows, copied)
        fault = _find_fault(matrix, threads)
    if lost is not None and fault is None and is_narrowed(rows.values.dtype):
        _, columns, values = sampled_elements(rows.pointers, rows.indices, rows.values)
        lost.update(lost_in_sparse(columns, values))
    return matrix, fault


def _narrow(rows: Compressed, copied: list[str]) -> Matrix:
    """Return rows with the core's types; the user's arrays where they have them."""
    if not np.can_cast(rows.indices.dtype, np.int32):
        require_bounds(rows)  # before they wrap around
    indices = _contiguous(rows.indices, np.int32, "indices", copied)
    return Matrix(
        rows.pointers,
        indices,
        _contiguous(rows.values, np.float32, "values", copied),
        rows.shape[1],
        tuple(copied),
        is_mapped(indices),
    )


def _find_fault(matrix: Matrix, threads: int) -> _Fault:
    threads = worthwhile(threads, matrix.n_elements)
    found = over_ranges(matrix.rows().find_fault, matrix.n_rows, threads)
    return next((fault for fault in found if fault is not None), None)


def _fault_text(matrix: Matrix, kind: str, row: int) -> str:
    """Return a text about a fault of a row, with the value found there."""
    pointers, values = matrix.pointers, matrix.values
    first, last = row * matrix.n_features, (row + 1) * matrix.n_features
    if pointers is not None:
        first, last = int(pointers[row]), int(pointers[row + 1])
    shown: Any = f"{first} .. {last} in X.indptr"
    if kind == "index":
        assert matrix.indices is not None
        indices = matrix.indices[first:last]
        wrong = indices[(indices < 0) | (indices >= matrix.n_features)]
        shown = wrong[0] if len(wrong) else "one that has changed since: the file is written to"
    elif kind == "value":
        assert values is not None
        element = first + int(np.argmin(np.isfinite(values[first:last])))
        column = element - first if matrix.indices is None else matrix.indices[element]
        shown = f"{values[element]} in column {column}"
    return f"row {row}: {_FAULTS[kind]}: found {shown}"
