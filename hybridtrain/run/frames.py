# SPDX-License-Identifier: BSD-3-Clause
"""The records of runs as pandas frames; pandas is imported only here, on demand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hybridtrain.errors import MissingPackageError

if TYPE_CHECKING:
    from hybridtrain.observe.records import EpochRecord
    from hybridtrain.run.result import Result

_TYPES = {  # Int64 may miss values
    "strategy": "object",
    "workers": "int64",
    "seed": "uint64",
    "epoch": "int64",
    "seconds": "float64",
    "rows": "Int64",
    "lr": "float64",
    "loss": "float64",
    "validation_loss": "float64",
    "trained": "Int64",
    "repeated": "Int64",
    "dropped": "Int64",
    "staleness_mean": "float64",
    "staleness_max": "Int64",
}
_OF_RUNS = ("strategy", "workers", "seed")


def require_pandas(caller: str) -> Any:
    """Return the module pandas.

    Parameters
    ----------
    caller : str
        The method that needs it, for the message.

    Raises
    ------
    MissingPackageError
        When pandas is missing.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - not needed otherwise
    except ImportError as error:
        raise MissingPackageError(f"{caller} needs pandas: pip install pandas") from error
    return pd


def epochs_of(result: Result) -> list[dict[str, Any]]:
    """Return the records of each epoch that was begun: history, ledger and staleness, joined.

    Parameters
    ----------
    result : Result

    Returns
    -------
    list of dict
        In the order of epochs. An epoch without a record in history or ledger has no
        entries from it.
    """
    history = {record.epoch: record for record in result.history}
    ledger = {record.epoch: record for record in result.ledger}
    epochs = []
    for epoch in sorted(history.keys() | ledger.keys()):
        joined: dict[str, Any] = {"epoch": epoch}
        for record, names in (
            (history.get(epoch), ("seconds", "rows", "lr", "loss", "validation_loss")),
            (ledger.get(epoch), ("trained", "repeated", "dropped")),
        ):
            joined |= {} if record is None else {name: getattr(record, name) for name in names}
        epochs.append(joined | _staleness(history.get(epoch), result))
    return epochs


def _staleness(record: EpochRecord | None, result: Result) -> dict[str, Any]:
    """Return the staleness of an epoch; nothing if none was observed, 0 where nothing is stale."""
    if result.staleness.source == "none":
        return {"staleness_mean": 0.0, "staleness_max": 0}
    staleness = None if record is None else record.staleness
    if staleness is None or not any(staleness.counts):
        return {}
    return {"staleness_mean": staleness.mean, "staleness_max": staleness.max}


def frame_of(epochs: Iterable[dict[str, Any]], *, of_runs: bool) -> Any:
    """Return records as a pandas frame whose columns and types are always the same.

    Parameters
    ----------
    epochs : iterable of dict
        As `epochs_of` returns them; with `of_runs`, also with "strategy", "workers" and
        "seed".
    of_runs : bool
        Whether the frame has these three columns.

    Returns
    -------
    pandas.DataFrame (n_epochs, n_columns)
        A missing value is NaN in a column of floats, <NA> in one of counts.
    """
    pd = require_pandas("to_frame")
    records = list(epochs)
    return pd.DataFrame(
        {
            name: pd.Series([record.get(name) for record in records], dtype=dtype)
            for name, dtype in _TYPES.items()
            if of_runs or name not in _OF_RUNS
        }
    )
