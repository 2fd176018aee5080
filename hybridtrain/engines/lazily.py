# SPDX-License-Identifier: BSD-3-Clause
"""Predictions of dask arrays and frames, partition by partition; nothing of Dask is imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def lazily(
    predict: Callable[[Any], npt.NDArray[Any]],
    X: Any,
    dtype: npt.DTypeLike,
    columns: Sequence[Any] | None = None,
) -> Any:
    """Return what a function of rows gives for each partition, computed when it is asked for.

    Parameters
    ----------
    predict : function
        Returns an array (n_rows,) or (n_rows, n_columns).
    X : dask array or frame (n_rows, n_features)
    dtype : dtype
        Of the results.
    columns : sequence, optional
        Their names; None: one value for each row.

    Returns
    -------
    dask array; or series or frame, with the index of X
    """
    shape = (0,) if columns is None else (0, len(columns))
    nothing = np.empty(shape, dtype)

    def predict_rows(rows: Any) -> Any:
        return predict(rows) if rows.shape[0] else nothing

    if hasattr(X, "map_partitions"):
        return X.map_partitions(
            _framed, predict_rows, columns, meta=_frame(X._meta, nothing, columns)
        )
    X = X.rechunk({1: -1}) if X.numblocks[1] > 1 else X
    if columns is None:
        return X.map_blocks(predict_rows, drop_axis=1, meta=nothing)
    return X.map_blocks(predict_rows, chunks=(X.chunks[0], (len(columns),)), meta=nothing)


def _framed(rows: Any, predict: Callable[[Any], Any], columns: Sequence[Any] | None) -> Any:
    return _frame(rows, predict(rows), columns)


def _frame(rows: Any, values: Any, columns: Sequence[Any] | None) -> Any:
    import pandas  # noqa: PLC0415 - the rows are its frames

    if columns is None:
        return pandas.Series(values, index=rows.index)
    return pandas.DataFrame(values, index=rows.index, columns=list(columns))
