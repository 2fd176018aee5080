# SPDX-License-Identifier: BSD-3-Clause
"""A run that is recorded: what its record says of it, before and after."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

import numpy as np

from hybridtrain._core.stream import MAX_WORKERS
from hybridtrain.arguments import MOST_SEED, plain, require_int, shown
from hybridtrain.errors import TrainingInterrupted
from hybridtrain.interrupts import Interrupts
from hybridtrain.models import class_weights
from hybridtrain.models.linear import Linear
from hybridtrain.observe.recording import Recorder
from hybridtrain.optimizers.parse import from_json, to_json
from hybridtrain.plan.base import Settings
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.recorded import constants_of
from hybridtrain.plan.stream import StreamPlan
from hybridtrain.run.environment import instruction_set, process_start
from hybridtrain.run.identity import Identity, identity_of
from hybridtrain.run.parts import Planned
from hybridtrain.run.posing import Posed
from hybridtrain.run.result import Result

_MOST_COUNT = (1 << 32) - 1
_MOST_IN_FLIGHT = 16
_GIVEN = (  # parts of an identity that do not stand in the record
    "version of hybridtrain",
    "rows",
    "features",
    "classes",
    "content of the data",
    "content of the validation data",
    "initial parameters",
)


def share_of(validation: Any) -> float | None:
    """Return the share of the rows that a run holds out; None: it was given other data, or none."""
    validation = plain(validation)
    return validation if isinstance(validation, float) else None


def identity_of_record(
    problem: Problem,
    held_out: Problem | None,
    strategy: str,
    settings: Settings,
    *,
    scale: Any,
    start: tuple[Any, Any],
) -> Identity:
    """Describe a run by what its replay must be given again; held_out: a share of the rows."""
    whole = identity_of(
        problem, held_out, strategy, settings, scale=scale, patience=None, initial=start
    )
    return {name: part for name, part in whole.items() if name in _GIVEN}


def header_of(
    model: Linear,
    settings: Settings,
    strategy: str,
    posed: Posed,
    planned: Planned,
    *,
    validation: Any,
    scale: Any,
) -> dict[str, Any]:
    """Return what the record of a run begins with."""
    plan = planned.plan
    assert isinstance(plan, StreamPlan)
    share = share_of(validation)
    held_out = None if share is None else posed.held_out
    columns = posed.problem.matrix.names
    return {
        "identity": identity_of_record(
            posed.problem, held_out, strategy, settings, scale=scale, start=posed.start
        ),
        "columns": None if columns is None else list(columns),
        "model": {
            **asdict(model),
            "class_weight": class_weights.to_json(model.class_weight),
        },
        "optimizer": to_json(settings.optimizer),
        "strategy": strategy,
        "workers": plan.workers,
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        "backend": settings.backend,
        "timeout": settings.timeout,
        "validation": share,
        "scale": scale,
        "plan": constants_of(plan),
        "trials": planned.trials,
    }


def settings_of(header: dict[str, Any]) -> tuple[Linear, Settings, dict[str, Any]]:
    """Return the model and the settings of a header, and the header, all checked.

    Raises
    ------
    ValueError, LookupError, TypeError
        When something else stands there.
    """
    for part in ("identity", "model", "optimizer", "plan", "trials"):
        if not isinstance(header[part], dict):
            raise ValueError(f"an object expected as {part}, found {header[part]!r}")
    of_model = header["model"]
    of_classes = class_weights.from_json(of_model.get("class_weight"))
    model = Linear(**{**of_model, "class_weight": of_classes})
    for part in ("strategy", "backend"):
        if not isinstance(header[part], str):
            raise ValueError(f"a text expected as {part}, found {header[part]!r}")
    columns = header["columns"]
    if columns is not None and not all(isinstance(each, str) for each in columns):
        raise ValueError(f"names of columns expected, found {columns!r}")
    share, scale, of_plan = header["validation"], header["scale"], header["plan"]
    is_share = share is None or (type(share) is float and 0.0 < share < 1.0)
    how = of_plan["adds"], of_plan["compensates"]
    if not is_share or scale not in (None, "auto") or any(type(each) is not bool for each in how):
        raise ValueError(f"its settings are {share!r}, {scale!r}, {how!r}")
    lr = of_plan["lr"]
    if type(lr) is not float or not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"its rate is {lr!r}")
    require_int("rows_in_flight", of_plan["rows_in_flight"], least=1, most=_MOST_IN_FLIGHT)
    require_int("every", of_plan["every"], least=0, most=_MOST_COUNT)
    if of_plan["staleness"] is not None:
        require_int("staleness", of_plan["staleness"], least=0, most=_MOST_COUNT - 1)
    settings = Settings(
        optimizer=from_json(header["optimizer"]),
        workers=require_int("workers", header["workers"], least=1, most=MAX_WORKERS),
        epochs=require_int("epochs", header["epochs"], least=1, most=_MOST_COUNT),
        seed=require_int("seed", header["seed"], least=0, most=MOST_SEED),
        batch_size=header["batch_size"],
        isa=instruction_set(),
        backend="processes" if header["backend"] == "processes" else "threads",
        start=process_start(),
        timeout=float(header["timeout"]),
    )
    return model, settings, header


def columns_differ(header: dict[str, Any], posed: Posed) -> str:
    """Say which column has another name than in the recorded run; "": none, or they have none."""
    there, here = header["columns"], posed.problem.matrix.names
    if there is None or here is None:
        return ""
    for k, (name, other) in enumerate(zip_longest(there, here)):
        if name != other:
            return f"column {k} is {shown(name)} there, {shown(other)} here"
    return ""


def bits_of(result: Result) -> str:
    """Return a checksum of the parameters of a result."""
    digest = hashlib.sha256()
    for part in (result.params["coef"], result.params["intercept"]):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def recorded(recorder: Recorder, header: dict[str, Any], run: Callable[[], Result]) -> Result:
    """Run, and end the record however the run ends.

    Raises
    ------
    OSError
        When the record cannot be begun.
    BaseException
        What `run` raises; the record is whole.
    """
    recorder.open(header)
    end: dict[str, Any] = {"ended": "exception", "best_epoch": None, "bits": ""}
    result = None
    try:
        result = run()
    except BaseException as raised:
        if isinstance(raised, KeyboardInterrupt):
            end["ended"] = "interrupted"
        # A SIGTERM ends the process by SystemExit, whose cause holds the result.
        holder = raised.__cause__ if isinstance(raised, SystemExit) else raised
        held = getattr(holder, "result", None)
        result = held if isinstance(held, Result) else None
        raise
    finally:
        with Interrupts() as interrupts:
            _end(recorder, result, end)
            is_late = interrupts.take()
    if is_late:
        said = "interrupted when the run was over; .result holds all of it"
        raise TrainingInterrupted(said, result=result)
    return result


def _end(recorder: Recorder, result: Result | None, end: dict[str, Any]) -> None:
    """Close the record, and tell the result of it."""
    if result is None:
        recorder.close(end)
        return
    settings = result.settings
    end = {
        "ended": settings["stopped"] or "",
        "best_epoch": settings["best_epoch"],
        "bits": bits_of(result),
    }
    recorder.close(end)
    settings["record"] = {"path": recorder.path, "bytes": recorder.nbytes}
    if recorder.failure:
        settings["record"]["bytes"] = None
        settings["warnings"].append(recorder.failure)
