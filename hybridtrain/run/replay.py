# SPDX-License-Identifier: BSD-3-Clause
"""A recorded run, run again by one thread."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.recorded import DIED, Replay, snapshot_nbytes
from hybridtrain._core.stream import Stream
from hybridtrain.arguments import require_int, shown
from hybridtrain.errors import InvalidSettingError, RecordError, needing_memory, reason_of
from hybridtrain.observe.recording import Record, Stretch, read_record
from hybridtrain.paths import path_text
from hybridtrain.plan.recorded import plan_recorded
from hybridtrain.plan.stream import StreamPlan
from hybridtrain.run.endings import diverged, result_of
from hybridtrain.run.epochs import Epochs
from hybridtrain.run.evaluate import mean_loss
from hybridtrain.run.faults import Faults
from hybridtrain.run.identity import differences
from hybridtrain.run.initial import read_initial
from hybridtrain.run.parts import Parts, Planned
from hybridtrain.run.posing import Posed, pose
from hybridtrain.run.recorded import bits_of, columns_differ, identity_of_record, settings_of
from hybridtrain.run.result import Result
from hybridtrain.run.snapshot import Parameters
from hybridtrain.run.stage import Stage
from hybridtrain.run.verdict import require_descent

_MOST_COUNT = (1 << 32) - 1
_MOST_ROW = 1 << 40


def replay(
    record: str | os.PathLike[str],
    data: tuple[Any, ...] | str | os.PathLike[str],
    *,
    init: Result | dict[str, Any] | None = None,
    until: tuple[int, int] | None = None,
) -> Result:
    """Train a recorded run again, with the same bits, in this thread alone.

    Parameters
    ----------
    record : path
        What ``train(..., record=path)`` wrote.
    data : (X, y) or (X, y, sample_weight) or path
        What the run was given.
    init : Result or dict, optional
        What the run was given.
    until : (epoch, row), optional
        Where to stop: once `row` rows of this epoch, from 1, are trained, at the end of a group of
        at most 4 rows. The order is that of the replay: of the workers that can go on, the one
        goes on that has trained the fewest rows since all of them rested, and of those the first.
        A worker cannot go on while its next exchange of a block has to come after another
        worker's. So the order is one that the run could have had, and the same each time. A row
        past those that the epoch trained is the epoch's end, after the last merges. None: to the
        end of the record.

    Returns
    -------
    Result
        The parameters, history and ledger of the recorded run. With `until` the shared parameters
        at that point, without the changes that replicas had not handed in, whether they are
        finite or not. A run that was interrupted, or lost its workers, ends where it ended.
        ``settings["stopped"]`` says why the run ended early, or is "until";
        ``settings["replayed"]`` is the path of the record. Validation losses are there if the run
        held out a share of the rows. Seconds are those of the replay.

    Raises
    ------
    RecordError
        When the file is damaged or no record, when other data or another `init` are given, or when
        the bits at the end are not those of the run.
    DivergedError
        When the recorded run diverged, as it did then, unless `until` is given.
    InvalidSettingError
        When `record` is no path, or `until` no (epoch, row) of an epoch of the record.
    InvalidDataError, OutOfMemoryError, OSError
        As `train`.

    Notes
    -----
    As many rows a second as one worker trains.

    **Thread safety.** As `train`.

    References
    ----------
    LeBlanc and Mellor-Crummey 1987, "Debugging parallel programs with Instant Replay", IEEE
    Transactions on Computers C-36(4): the order of accesses is recorded, and no values.

    Examples
    --------
    >>> import os, tempfile, numpy as np, hybridtrain as ht
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = os.path.join(folder.name, "run.htr")
    >>> X = np.random.default_rng(0).normal(size=(4096, 8)).astype(np.float32)
    >>> data = X, X[:, 0] + X[:, 1] > 0
    >>> first = ht.train(ht.Linear(), data, strategy="async", workers=2, record=file)
    >>> again = ht.replay(file, data)
    >>> bool((first.params["coef"] == again.params["coef"]).all())
    True
    >>> early = ht.replay(file, data, until=(2, 1000))
    >>> early.ledger[-1].trained
    1000
    >>> folder.cleanup()
    """
    name = path_text(record)
    if until is not None:
        until = _checked_until(until)
    with needing_memory("reading the record"), _reading(name):
        told = read_record(name)
        model, settings, header = settings_of(told.header)
    posed = pose(
        model,
        data,
        settings,
        validation=header["validation"],
        init=init,
        initial=read_initial(init, model),
        scale=header["scale"],
    )
    strategy = header["strategy"]
    identity = identity_of_record(
        posed.problem, posed.held_out, strategy, settings, scale=header["scale"], start=posed.start
    )
    found = differences(header["identity"], identity)
    if found:
        columns = columns_differ(header, posed)
        raise RecordError(
            f"{name} is the record of another run: {columns or '; '.join(found)}; give the data "
            "and the init of that run"
        )
    with needing_memory("preparing the run"):
        plan = plan_recorded(posed.problem, settings, header["plan"])
    n_epochs = told.stretches[-1].epoch if told.stretches else 0
    if until is not None and until[0] > n_epochs:
        raise InvalidSettingError(
            f"until must be in an epoch of the record, which has {n_epochs}, got {until}"
        )
    planned = Planned(strategy=strategy, epochs=None, plan=plan, trials=header["trials"])
    replaying = _Replaying(name, told, posed, plan, Parts([planned]))
    with needing_memory("the replay"):
        result = replaying.run(until)
    if until is not None:
        return result
    if told.end.get("bits") not in ("", bits_of(result)):
        raise RecordError(
            f"{name} was replayed to its end, and the parameters are not those of the run: it was "
            "recorded by another build of hybridtrain, or changed"
        )
    if replaying.bad_lr is not None:
        raise diverged(result, n_epochs, replaying.bad_lr)
    require_descent(plan, posed.start, result)
    return result


def _checked_until(until: Any) -> tuple[int, int]:
    if not isinstance(until, tuple | list) or len(until) != 2:
        raise InvalidSettingError(f"until must be (epoch, row), got {shown(until)}")
    epoch = require_int("the epoch of until", until[0], least=1, most=_MOST_COUNT)
    return epoch, require_int("the row of until", until[1], least=0, most=_MOST_ROW)


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn what is wrong with a record into one kind of error.

    Raises
    ------
    RecordError
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        raise RecordError(f"{name} cannot be replayed: {reason_of(error)}") from error


class _Nobody:
    """Be the crew of a replay, which has no worker."""

    are_lost = False

    def start(self) -> None:
        """Do nothing."""

    def leave(self) -> None:
        """Do nothing."""

    def causes(self, worker: int) -> tuple[str, ...]:
        """Return nothing."""
        del worker
        return ()

    def lost(self, worker: int) -> float:
        """Return 0."""
        del worker
        return 0.0


class _Replaying:
    """Play a record to its end, or to a point."""

    def __init__(
        self, name: str, record: Record, posed: Posed, plan: StreamPlan, parts: Parts
    ) -> None:
        self._name, self._record, self._posed = name, record, posed
        self._plan, self._parts = plan, parts
        self._epochs = Epochs()
        self._parameters: Parameters = posed.start  # the latest ones
        self._best: Parameters | None = None
        self.bad_lr: float | None = None

    def run(self, until: tuple[int, int] | None) -> Result:
        """Return the result at the end, or at a point."""
        plan, end = self._plan, self._record.end
        run = plan.open()
        try:
            stage = Stage(plan, run, _Nobody())
            self._parts.open(stage)
            run.load(plan.to_trained(*self._posed.start))
            with _reading(self._name):
                self._play(stage, until)
            if until is not None:
                self._parameters, self._best = stage.parameters(), None
            problem, best = self._posed.problem, self._best
            return result_of(
                self._parts,
                self._epochs,
                Faults(),
                parameters=self._parameters if best is None else best,
                settings={
                    "strategy": self._record.header["strategy"],
                    "scale": None if problem.scaling is None else problem.scaling.summary(),
                    "warnings": [],
                    "reading": self._posed.reading,
                    "checkpoint": None,
                    "resumed": None,
                    "best_epoch": None if best is None else end["best_epoch"],
                    "replayed": self._name,
                },
                ended="until" if until is not None else str(end.get("ended") or "finished"),
            )
        finally:
            run.close()

    def _play(self, stage: Stage, until: tuple[int, int] | None) -> None:
        run, stretches = stage.run, self._record.stretches
        assert isinstance(run, Stream)
        replay, before, lr, began = Replay(run), 0, 0.0, 0.0
        for stretch, following in zip_longest(stretches, stretches[1:]):
            epoch = stretch.epoch
            run.set_rates(epoch, np.array(stretch.rates))
            if epoch > run.opened:
                before, lr = replay.rows, float(stretch.rates[0])
                began = time.perf_counter()
                run.begin(epoch)
            else:
                run.resume()
            replay.give(*self._events(stretch, snapshot_nbytes(run)))
            is_in_epoch = until is not None and until[0] == epoch
            end = before + until[1] if until is not None and is_in_epoch else None
            replay.go_on(end)
            is_there = end is not None and replay.rows >= end
            is_over = following is None or following.epoch != epoch
            if is_there or is_over:
                reason = "until" if is_in_epoch else str(self._record.end.get("ended"))
                open_loss = replay.open_loss if is_there else 0.0  # a run leaves it out
                self._note(stage, time.perf_counter() - began, lr, reason, open_loss)
            if is_there or (is_over and is_in_epoch):
                return

    def _events(
        self, stretch: Stretch, nbytes: int
    ) -> tuple[list[npt.NDArray[np.uint64]], npt.NDArray[np.uint8]]:
        """Return the entries of each worker, and the snapshots that they name."""
        snapshots = [np.empty(0, np.uint8)]
        entries = []
        for events in stretch.events:
            pieces = [np.empty(0, np.uint64)]
            for event in events:
                if isinstance(event, int):
                    snapshot = self._record.snapshots[event]
                    if len(snapshot) != nbytes:
                        raise ValueError(f"a snapshot has {len(snapshot)} bytes, not {nbytes}")
                    pieces.append(np.array([DIED + len(snapshots) - 1], np.uint64))
                    snapshots.append(snapshot)
                else:
                    pieces.append(event)
            entries.append(np.concatenate(pieces))
        return entries, np.concatenate(snapshots)

    def _note(self, stage: Stage, seconds: float, lr: float, reason: str, open_loss: float) -> None:
        """Note the open epoch, as `Job` does; open_loss: of rows whose chunk is not at its end."""
        end = stage.end_epoch(seconds=seconds, lr=lr, reason=reason)
        if end.record is not None:
            loss = end.record.loss + open_loss / end.record.rows
            end = replace(end, record=replace(end.record, loss=loss))
        self._epochs.note(end.ledger, end.record)
        if end.parameters is None:
            self.bad_lr = end.bad_lr
            return
        self._parameters = end.parameters
        if end.ledger.epoch == self._record.end.get("best_epoch"):
            self._best = end.parameters
        if end.record is not None and self._posed.held_out is not None:
            held_out, isa = self._posed.held_out, self._plan.isa
            loss = mean_loss(held_out, *end.parameters, isa=isa, threads=1)
            self._epochs.measured(end.record, loss)
