# SPDX-License-Identifier: BSD-3-Clause
"""What the scikit-learn estimators ask of a Dask cluster before they train on it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from distributed import Client, futures_of, get_client

from hybridtrain.data.collections import is_collection
from hybridtrain.errors import InvalidDataError, InvalidSettingError


def current_client() -> Client:
    """Return the client of this program.

    Raises
    ------
    InvalidSettingError
        When there is none.
    """
    try:
        return get_client()
    except ValueError as error:
        raise InvalidSettingError(
            "fit on dask collections needs a cluster: make a dask.distributed.Client before"
        ) from error


class Kept(NamedTuple):
    """Hold rows that a cluster has computed and keeps.

    Attributes
    ----------
    client : Client
    data : tuple
        (X, y) or (X, y, sample_weight), of collections.
    mean_weight : float
        Of the rows' sample weights.
    """

    client: Client
    data: tuple[Any, ...]
    mean_weight: float

    @classmethod
    def of(cls, X: Any, y: Any, sample_weight: Any) -> Kept:
        """Compute collections; each of them once, for all that a fit asks.

        Raises
        ------
        InvalidSettingError
            When there is no client.
        InvalidDataError
            When not all of them are collections.
        """
        table = [X, y] if sample_weight is None else [X, y, sample_weight]
        if not all(map(is_collection, table)):
            raise InvalidDataError("X, y and sample_weight must all be dask collections, or none")
        client = current_client()
        data = tuple(client.persist(table))
        mean = 1.0 if sample_weight is None else float(data[2].mean().compute())
        return cls(client, data, mean)


def counted_labels(kept: Kept) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the labels, sorted, and the rows of each.

    Raises
    ------
    InvalidDataError
        When they cannot be sorted: of several types, or missing.
    """
    found = kept.client.gather(kept.client.map(_counts, futures_of(kept.data[1]), pure=False))
    try:
        labels, places = np.unique(np.concatenate([part[0] for part in found]), return_inverse=True)
    except TypeError as error:
        raise InvalidDataError(f"y must hold labels of one type: {error}") from error
    counts = np.bincount(places, np.concatenate([part[1] for part in found]), len(labels))
    return labels, counts.astype(np.int64)


def counted_rows(kept: Kept) -> int:
    """Return the number of rows."""
    return sum(kept.client.gather(kept.client.map(len, futures_of(kept.data[1]), pure=False)))


def _counts(y: Any) -> Any:
    try:
        return np.unique(np.asarray(y), return_counts=True)
    except TypeError as error:
        raise InvalidDataError(f"y must hold labels of one type: {error}") from error
