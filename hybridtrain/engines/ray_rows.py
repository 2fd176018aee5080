# SPDX-License-Identifier: BSD-3-Clause
"""Rows in Ray's object store, from the driver's arrays or datasets to a node's arrays.

The driver holds the references, so that Ray makes those again that are lost with a machine. A node
takes the blocks of a dataset in their order, wherever they lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray

from hybridtrain.arguments import is_instance, shown
from hybridtrain.errors import InvalidDataError
from hybridtrain.nodes.calls import BROUGHT


class Table(NamedTuple):
    """Rows as a node finds them.

    Attributes
    ----------
    parts : sequence of ObjectRef
        X, y and perhaps weights; or the blocks of a dataset.
    columns : sequence of str
        Of a dataset, those of y and of the weights; (): the parts are arrays.
    """

    parts: Sequence[Any]
    columns: Sequence[str]


Tables = Mapping[str, Table]


def stored(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Table]]:
    """Return the arguments of `train` with rows in memory BROUGHT, and these rows in the store.

    Raises
    ------
    InvalidDataError
        When a dataset has no such column, or not the form (dataset, "y").
    """
    tables = {}
    for name in ("data", "validation"):
        if _is_dataset(given[name]):
            raise InvalidDataError(
                f'{name} must be a tuple of a dataset and the column of y, such as (dataset, "y"), '
                "and perhaps the column of the weights, got the dataset alone"
            )
        if type(given[name]) is tuple:
            tables[name] = _table(name, given[name])
    return {**given, **dict.fromkeys(tables, BROUGHT)}, tables


def _table(name: str, parts: tuple[Any, ...]) -> Table:
    if not any(map(_is_dataset, parts)):
        return Table([ray.put(part) for part in parts], ())
    dataset, *columns = parts
    if not _is_dataset(dataset) or not 1 <= len(columns) <= 2:
        raise InvalidDataError(
            f'{name} must be (dataset, "y") or (dataset, "y", "weights"), with names of columns, '
            f"got {shown(tuple(type(part).__name__ for part in parts))}"
        )
    with _computing(name):
        names = dataset.columns() or []
        for column in columns:
            if column not in names:
                raise InvalidDataError(
                    f"{name}: the dataset must have the column {shown(column)}, has {shown(names)}"
                )
        computed = dataset.materialize()
        if computed.count() == 0:
            raise InvalidDataError(f"{name}: the dataset must have rows, has none")
        bundles = computed.iter_internal_ref_bundles()
        return Table([block for bundle in bundles for block in bundle.block_refs], columns)


@contextmanager
def _computing(name: str) -> Iterator[None]:
    """Let Ray compute a dataset, by tasks that need CPUs, in its own order."""
    options = ray.data.DataContext.get_current().execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        yield
    except ray.exceptions.RayError as error:
        raise InvalidDataError(f"{name}: Ray cannot compute the dataset: {error}") from error
    finally:
        options.preserve_order = before


def _is_dataset(value: Any) -> bool:
    return is_instance(value, "ray.data.dataset.Dataset")


def gathered(tables: Tables) -> dict[str, tuple[Any, ...]]:
    """Return the tables of which a node has the references, each part in one piece."""
    return {name: _in_memory(table) for name, table in tables.items()}


def _in_memory(table: Table) -> tuple[Any, ...]:
    parts = ray.get(list(table.parts))
    if not table.columns:
        return tuple(parts)
    import pandas  # noqa: PLC0415 - of who has a dataset
    from ray.data.block import BlockAccessor  # noqa: PLC0415 - as above

    frames = [BlockAccessor.for_block(block).to_pandas() for block in parts]
    frame = pandas.concat([each for each in frames if len(each)], ignore_index=True)
    rest = [frame.pop(column).to_numpy() for column in table.columns]
    return frame, *rest
