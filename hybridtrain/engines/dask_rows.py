# SPDX-License-Identifier: BSD-3-Clause
"""Rows in the memory of a Dask cluster, from the driver's collections to a node's arrays.

The driver holds the futures of all partitions, so that Dask computes those again that are lost with
a worker. A node gathers the partitions in their order, whoever holds them: a row's number does
not depend on where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from distributed import Client, Future, wait
from scipy import sparse

from hybridtrain.data.collections import is_collection
from hybridtrain.errors import InvalidDataError
from hybridtrain.nodes.calls import BROUGHT

# Of each table ("data", "validation"), of each of its parts (X, y, sample_weight).
Keys = Mapping[str, Sequence[Sequence[Any]]]
_PARTS = "X", "y", "sample_weight"


class Collections:
    """Tables of dask arrays and frames, computed and kept in the memory of the workers.

    Parameters
    ----------
    client : Client
    tables : dict
        (X, y) or (X, y, sample_weight), by the name of the argument of `train`.

    Attributes
    ----------
    keys : mapping
        Of the partitions, in their order.

    Raises
    ------
    InvalidDataError
        When parts are not cut alike, or a partition cannot be computed.
    """

    def __init__(self, client: Client, tables: Mapping[str, tuple[Any, ...]]) -> None:
        checked = {name: _cut_alike(name, table) for name, table in tables.items()}
        kept = {name: client.persist(table) for name, table in checked.items()}
        futures = {name: [_futures_of(part) for part in table] for name, table in kept.items()}
        self._client = client
        self._futures = [each for table in futures.values() for part in table for each in part]
        wait(self._futures)
        for name, table in futures.items():
            _raise_failures(name, table)
        self.keys: Keys = {
            name: [[each.key for each in part] for part in table] for name, table in futures.items()
        }

    def holders(self) -> set[str]:
        """Return the addresses of the workers that hold partitions."""
        found = self._client.who_has(self._futures).values()
        return {worker for workers in found for worker in workers}

    def on(self, worker: str) -> Keys:
        """Return what a worker gathers."""
        del worker
        return self.keys

    def close(self) -> None:
        """Let the workers forget the partitions."""
        for future in self._futures:
            future.release()


class Held:
    """Tables in the memory of the driver, which each worker is sent as they are.

    Parameters
    ----------
    client : Client
    tables : dict
        As of `Collections`, of arrays.
    """

    def __init__(self, client: Client, tables: Mapping[str, tuple[Any, ...]]) -> None:
        self._client = client
        self._tables = tables
        self._futures: list[Any] = []

    def holders(self) -> None:
        """Return None: all workers are as good."""

    def on(self, worker: str) -> Keys:
        """Send the tables to a worker, and return what it gathers."""
        keys = {}
        for name, table in self._tables.items():
            futures = self._client.scatter(list(table), workers=[worker], hash=False)
            self._futures += futures
            keys[name] = [[future.key] for future in futures]
        return keys

    def close(self) -> None:
        """Let the workers forget the tables."""
        for future in self._futures:
            future.release()


def taken_apart(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of `train` with rows in memory BROUGHT, and these rows.

    Raises
    ------
    InvalidDataError
        When some of a table are dask collections and some are not, or in one table but not in
        the other.
    """
    tables = {
        name: given[name]
        for name in ("data", "validation")
        if type(given[name]) is tuple or is_collection(given[name])
    }
    for name, table in tables.items():
        if not isinstance(table, tuple) or len(table) not in (2, 3):
            raise InvalidDataError(
                f"{name} must be a tuple (X, y) or (X, y, sample_weight) of dask arrays or frames, "
                f"or of arrays, or a path, got {type(table).__name__}"
            )
    are = [is_collection(part) for table in tables.values() for part in table]
    if any(are) and not all(are):
        raise InvalidDataError(
            "data and validation in memory must all be dask collections, or none of them: got both"
        )
    return {**given, **dict.fromkeys(tables, BROUGHT)}, tables


def gathered(keys: Keys, client: Client) -> dict[str, tuple[Any, ...]]:
    """Return the tables of which a worker has the keys, each part in one piece.

    Raises
    ------
    InvalidDataError
        When the parts of a partition differ in rows.
    """
    return {name: _table(name, table, client) for name, table in keys.items()}


def _table(name: str, keys: Sequence[Sequence[Any]], client: Client) -> tuple[Any, ...]:
    pieces: list[list[Any]] = [[] for _ in keys]
    for number, row in enumerate(zip(*keys, strict=True)):
        # One partition at a time: the worker holds no copy of it for long.
        futures = client.get({}, list(row), sync=False)  # of another client; lost ones come again
        for part, value in enumerate(client.gather(futures)):
            pieces[part].append(value)
        lengths = [each[-1].shape[0] for each in pieces]
        if len(set(lengths)) > 1:
            raise InvalidDataError(
                f"{name}: partition {number} must have as many rows in each part, got "
                + ", ".join(f"{n} in {part}" for n, part in zip(lengths, _PARTS, strict=False))
            )
    table = []
    while pieces:
        table.append(_in_one_piece(pieces.pop(0)))
    return tuple(table)


def _in_one_piece(pieces: list[Any]) -> Any:
    if len(pieces) == 1:
        return pieces[0]
    if any(map(sparse.issparse, pieces)):
        return sparse.vstack(pieces, format="csr")
    if hasattr(pieces[0], "iloc"):
        import pandas  # noqa: PLC0415 - these are its frames

        return pandas.concat(pieces)
    return np.concatenate(pieces)


def _cut_alike(name: str, table: tuple[Any, ...]) -> list[Any]:
    """Return the parts of a table, checked; X in whole rows."""
    parts = [_whole_rows(part) for part in table]
    for part, dimensions, word in zip(parts, (2, 1, 1), _PARTS, strict=False):
        if getattr(part, "ndim", None) != dimensions:
            raise InvalidDataError(
                f"{name}: {word} must be a dask array or frame of {dimensions} dimension"
                f"{'s' if dimensions > 1 else ''}, got {_described(part)}"
            )
    cuts = [_cut(part) for part in parts]
    for cut, word in zip(cuts, _PARTS, strict=False):
        pairs = zip(cut, cuts[0], strict=False)
        # What is not known differs from nothing.
        if len(cut) != len(cuts[0]) or any(abs(a - b) > 0 for a, b in pairs):
            raise InvalidDataError(
                f"{name}: {word} must be cut into partitions as X is, got {_shown(cut)} for "
                f"{_shown(cuts[0])}; rechunk or repartition it"
            )
    return parts


def _whole_rows(part: Any) -> Any:
    is_cut = hasattr(part, "numblocks") and len(part.numblocks) > 1 and part.numblocks[1] > 1
    return part.rechunk({1: -1}) if is_cut else part


def _cut(part: Any) -> Sequence[float]:
    """Return the rows of each partition; NaN: not known."""
    if hasattr(part, "chunks"):
        lengths: Sequence[float] = part.chunks[0]
        return lengths
    return [np.nan] * part.npartitions


def _shown(cut: Sequence[float]) -> str:
    text = f"{len(cut)} partition{'s' if len(cut) > 1 else ''}"
    known = [f"{n:.0f}" for n in cut[:4] if n >= 0]
    return f"{text} of {', '.join(known)}{' ...' if len(cut) > 4 else ''} rows" if known else text


def _described(part: Any) -> str:
    dimensions = getattr(part, "ndim", None)
    name = type(part).__name__
    return name if dimensions is None else f"{name} of {dimensions}"


def _futures_of(collection: Any) -> list[Any]:
    """Return the futures of the partitions of a persisted collection, in their order.

    Dask may have given a future another key than the collection's, which is then an alias.
    """
    graph = dict(collection.__dask_graph__())
    futures = []
    for key in _flat(collection.__dask_keys__()):
        value = graph[key]
        while not isinstance(value, Future):
            value = graph[value.target]
        futures.append(value)
    return futures


def _flat(keys: Any) -> Iterator[Any]:
    if not isinstance(keys, list):
        yield keys
        return
    for each in keys:
        yield from _flat(each)


def _raise_failures(name: str, table: Sequence[Sequence[Any]]) -> None:
    for future in (each for part in table for each in part):
        if future.status != "finished":
            error = future.exception() if future.status == "error" else future.status
            raise InvalidDataError(
                f"{name}: Dask cannot compute partition {future.key}: {error!r}"
            ) from (error if isinstance(error, BaseException) else None)
