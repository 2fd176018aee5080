# SPDX-License-Identifier: BSD-3-Clause
"""The arguments of `train` as plain values for other machines, and back. Nothing is pickled."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from hybridtrain.arguments import plain, shown
from hybridtrain.data.files import FileRows, read_data
from hybridtrain.data.labelled import as_read
from hybridtrain.errors import InvalidSettingError
from hybridtrain.models import class_weights
from hybridtrain.models.linear import Linear
from hybridtrain.optimizers import schedules
from hybridtrain.optimizers.parse import OPTIMIZERS, parse_optimizer
from hybridtrain.paths import path_text
from hybridtrain.run.checkpoint import Checkpoint, checked_checkpoint
from hybridtrain.strategies.parse import parse_strategy, strategy_name

_PLAIN = (
    *("workers", "epochs", "batch_size", "seed", "seconds", "patience"),
    *("scale", "backend", "timeout"),
)
_MOST_BYTES = 1_000_000
BROUGHT = object()  # rows that each node has from elsewhere: nothing of them is told
_SCHEDULES = {kind.__name__: kind for kind in (*schedules.SCHEDULES.values(), schedules.Warmup)}


def to_text(arguments: Mapping[str, Any]) -> str:
    """Return the arguments of `train` as JSON.

    Raises
    ------
    InvalidSettingError
        When an argument cannot reach other machines; the message says what to do.
    """
    model, resume = arguments["model"], arguments["resume"]
    told = {name: plain(arguments[name]) for name in _PLAIN}
    if told["scale"] not in (None, "auto"):
        raise InvalidSettingError('scale must be "auto" or None on other machines, got a Scaling')
    validation = arguments["validation"]
    if validation is not None and not isinstance(plain(validation), int | float):
        validation = _rows("validation", validation)
    whole = {
        **told,
        "model": {
            **asdict(model),
            "class_weight": class_weights.to_json(model.class_weight),
        },
        "data": _rows("data", arguments["data"]),
        "validation": plain(validation),
        "strategy": strategy_name(parse_strategy(arguments["strategy"])),
        "optimizer": _optimizer(parse_optimizer(arguments["optimizer"])),
        "checkpoint": _checkpoint(checked_checkpoint(arguments["checkpoint"], resume)),
        "resume": resume if isinstance(resume, bool) else path_text(resume),
        "init": arguments["init"] is not None,
    }
    text = json.dumps(whole)
    if len(text) > _MOST_BYTES:
        raise InvalidSettingError(
            f"the call must have at most {_MOST_BYTES:,} bytes as JSON on other machines, got "
            f"{len(text):,}: shorten class_weight"
        )
    return text


def from_text(text: str, init: Callable[[], Any]) -> dict[str, Any]:
    """Return the arguments of `train` from what `to_text` made of them.

    Parameters
    ----------
    text : str
    init : function
        Fetches the argument `init`, if there is one.

    Raises
    ------
    InvalidSettingError
        When they are something else.
    InvalidDataError, OSError
        When rows that `train` would read otherwise cannot be read.
    """
    try:
        told = json.loads(text)
        values = dict(told["optimizer"]["values"])
        if isinstance(schedule := values.get("schedule"), Mapping):
            values["schedule"] = _schedule(schedule)
        checkpoint = told["checkpoint"]
        model = {**told["model"]}
        model["class_weight"] = class_weights.from_json(model["class_weight"])
        arguments = {
            **{name: told[name] for name in _PLAIN},
            "model": Linear(**model),
            "strategy": parse_strategy(told["strategy"]),
            "optimizer": OPTIMIZERS[told["optimizer"]["name"]](**values),
            "checkpoint": None if checkpoint is None else Checkpoint(**checkpoint),
            "resume": told["resume"],
        }
        has_init = bool(told["init"])
    except (LookupError, TypeError, ValueError) as error:
        if isinstance(error, InvalidSettingError):
            raise
        raise InvalidSettingError(f"the driver's call is not understood: {error!r}") from error
    rows = {name: _read(told[name]) for name in ("data", "validation")}
    return {**arguments, **rows, "init": init() if has_init else None}


def _checkpoint(checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    """Return where and how often nodes save the run."""
    if checkpoint is None:
        return None
    return {**asdict(checkpoint), "path": path_text(checkpoint.path)}


def _rows(name: str, data: Any) -> dict[str, Any] | None:
    """Return the path of rows, and how it is read."""
    if data is BROUGHT:
        return None
    if isinstance(data, FileRows) and isinstance(data.name, str) and os.path.exists(data.name):
        return {"path": data.name, **as_read(data.reading)}
    if isinstance(data, str | os.PathLike):
        return {"path": path_text(data)}
    raise InvalidSettingError(
        f"{name} must be a path that every node can read, got {type(data).__name__} in the memory "
        'of the driver; write them with ht.save_directory, or use nodes="env", where each node '
        "brings its own copy"
    )


def _read(told: Any) -> Any:
    """Return a path, or rows that must be read with settings; or what was no path."""
    if not isinstance(told, Mapping):
        return told
    if not os.path.exists(told["path"]):
        raise FileNotFoundError(
            f"there is no {told['path']} on this node, whose folder is {os.getcwd()}: every node "
            "must read the same rows by the same path"
        )
    reading = {name: value for name, value in told.items() if name != "path"}
    return read_data(told["path"], **reading) if any(reading.values()) else told["path"]


def _optimizer(optimizer: Any) -> dict[str, Any]:
    names = {kind: name for name, kind in OPTIMIZERS.items()}
    values = {field.name: getattr(optimizer, field.name) for field in fields(optimizer)}
    schedule = values.get("schedule")
    if schedule is not None and not isinstance(schedule, str):
        values["schedule"] = _of_schedule(schedule)
    return {"name": names[type(optimizer)], "values": {k: plain(v) for k, v in values.items()}}


def _of_schedule(schedule: Any) -> Any:
    if isinstance(schedule, str):
        return schedule
    name = type(schedule).__name__
    if _SCHEDULES.get(name) is not type(schedule) or not is_dataclass(schedule):
        raise InvalidSettingError(
            f"schedule must be one of hybridtrain's own on other machines, got {shown(schedule)}"
        )
    values = {}
    for field in fields(schedule):
        value = getattr(schedule, field.name)
        values[field.name] = _of_schedule(value) if is_dataclass(value) else plain(value)
    return {"schedule": name, "values": values}


def _schedule(told: Mapping[str, Any]) -> Any:
    values = {
        name: _schedule(value) if isinstance(value, Mapping) else value
        for name, value in told["values"].items()
    }
    return _SCHEDULES[told["schedule"]](**values)
