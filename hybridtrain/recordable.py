# SPDX-License-Identifier: BSD-3-Clause
"""Which runs can be recorded: what is refused before the data are read, and what after."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from hybridtrain.arguments import shown
from hybridtrain.data.files import FileRows, files_read
from hybridtrain.data.scaling import Scaling
from hybridtrain.errors import InvalidSettingError
from hybridtrain.observe.recording import Recorder
from hybridtrain.paths import path_text
from hybridtrain.plan.base import Plan
from hybridtrain.plan.stream import IN_PLACE
from hybridtrain.strategies.base import Strategy

_AGAIN = "no record is needed, train again with the same settings"
_ONE_WORKER = f"it has one worker, and its bits depend on the seed alone: {_AGAIN}"


def checked_record(
    record: Any,
    *,
    strategy: Strategy,
    workers: int,
    resume: Any,
    scale: Any,
    sources: Sequence[Any] = (),
) -> Recorder | None:
    """Check the arguments of `train` that do not go with a record.

    Parameters
    ----------
    record, strategy, workers, resume, scale
        As for `train`.
    sources : sequence
        The data and the validation data, as `train` was given them.

    Raises
    ------
    InvalidSettingError
    """
    if record is None:
        return None
    if not isinstance(record, str | os.PathLike) or not path_text(record):
        raise InvalidSettingError(f"record must be the path of a file, got {shown(record)}")
    reason = _unrecordable(strategy, workers)
    if resume is not False:
        reason = "a record begins where its run began: leave out resume"
    elif isinstance(scale, Scaling):
        reason = 'a record does not hold a Scaling: use scale="auto" or None'
    if reason:
        raise InvalidSettingError(f"this run cannot be recorded: {reason}")
    real = os.path.realpath(path_text(record))
    for source in sources:
        path = source.name if isinstance(source, FileRows) else source
        taken = files_read(path_text(path)) if isinstance(path, str | os.PathLike) else {}
        if real in taken:
            raise InvalidSettingError(
                f"cannot write {path_text(record)} for record: it is {taken[real]}; give another "
                "name"
            )
    return Recorder(record)


def _unrecordable(strategy: Strategy, workers: int) -> str:
    """Return why no run of a strategy is recorded, whatever the data are; "": some are."""
    if len(strategy.parts) > 1:
        return f"a record has one strategy, and {strategy!r} has {len(strategy.parts)} parts"
    if strategy.same_bits(2):
        equal = "" if strategy.same_bits_for_any_workers else " and number of workers"
        return f"its bits depend on the seed, and not on which worker does what: {_AGAIN}{equal}"
    if strategy.parts[0].strategy.steps_in_place:
        return _ONE_WORKER if workers == 1 else IN_PLACE
    return ""


def require_recordable(recorder: Recorder | None, plan: Plan) -> None:
    """Refuse a record of a run that nobody can replay.

    Raises
    ------
    InvalidSettingError
    """
    if recorder is not None and plan.unrecordable:
        reason = plan.unrecordable
        if reason == IN_PLACE and plan.workers == 1:
            reason = _ONE_WORKER
        raise InvalidSettingError(f"this run cannot be recorded: {reason}")
