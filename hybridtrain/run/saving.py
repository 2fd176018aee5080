# SPDX-License-Identifier: BSD-3-Clause
"""How a run is saved while it trains, and what it goes on from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hybridtrain.errors import CheckpointError, reason_of
from hybridtrain.paths import PathLike
from hybridtrain.plan.base import Plan, Run
from hybridtrain.run.checkpoint import Checkpoint, Keeper, checked_checkpoint, newest
from hybridtrain.run.course import Course
from hybridtrain.run.identity import Identity, differences
from hybridtrain.run.parts import checked_parts
from hybridtrain.run.snapshot import Snapshot, put, take


@dataclass(slots=True)
class Saving:
    """Save a run, if it has a keeper; hold the snapshot that it goes on from, if it does.

    Attributes
    ----------
    keeper : Keeper or None
    source : str or None
        The file that the run goes on from.
    start : Snapshot or None
        What it holds.
    identity : dict
        Of the run in hand.
    is_over : bool
        Whether the end of the run was saved.
    """

    keeper: Keeper | None = None
    source: str | None = None
    start: Snapshot | None = None
    identity: Identity = field(default_factory=dict)
    is_over: bool = False

    @property
    def is_used(self) -> bool:
        """Whether the run is saved, or goes on from a checkpoint."""
        return self.keeper is not None or self.start is not None

    def recognise(self, identity: Identity) -> None:
        """Note which run this is.

        Raises
        ------
        CheckpointError
            When it is another run than the one to go on with.
        """
        self.identity = identity
        if self.start is None:
            return
        found = differences(self.start.identity, identity)
        if found:
            raise CheckpointError(
                f"{self.source} is a checkpoint of another run: {'; '.join(found)}; give what "
                "that run was given, or begin a new run in another folder"
            )

    def parts(self, n_parts: int) -> list[dict[str, Any]] | None:
        """Return what `Parts.to_json` gave in the run to go on with; None: there is none.

        Raises
        ------
        CheckpointError
            When the checkpoint does not hold so many parts.
        """
        if self.start is None:
            return None
        try:
            return checked_parts(self.start.job["parts"], n_parts)
        except ValueError as error:
            raise self._refusal(error) from error

    @property
    def is_due(self) -> bool:
        """Whether it is time to save the run."""
        return self.keeper is not None and self.keeper.is_due

    def start_clock(self) -> None:
        """Count the seconds to the first checkpoint from now."""
        if self.keeper is not None:
            self.keeper.start()

    def snapshot(
        self, run: Run, plan: Plan, course: Course, epoch_seconds: float, ended: str
    ) -> Snapshot | None:
        """Copy the state of a run, in whose steps nothing moves now; None if it is not finite.

        epoch_seconds: of the open epoch, so far. ended: a word; "": it goes on.
        """
        job = {
            "parts": course.parts.to_json(),
            "course": course.to_json(),
            "epoch_seconds": epoch_seconds,
            "ended": ended,
        }
        return take(run, plan, self.identity, job, course.stopping.best)

    def keep(self, copy: Callable[[], Snapshot | None], *, is_last: bool) -> None:
        """Save a run, whose workers rest."""
        assert self.keeper is not None
        self.keeper.keep(copy, is_last=is_last)
        self.is_over = is_last

    def rescue(self, run: Run, copy: Callable[[], Snapshot | None]) -> None:
        """Save a run on several nodes that has lost its driver, unless another node saves it."""
        if self.keeper is not None and run.opened and not self.is_over:
            self.keeper.rescue(copy)

    def put(self, run: Run, plan: Plan, course: Course) -> dict[str, Any]:
        """Make a run that was just opened, and its course, go on; return what else was saved.

        Raises
        ------
        CheckpointError
            When the checkpoint does not hold such a run.
        """
        assert self.start is not None
        try:
            course.recall(self.start.job["course"], put(run, plan, self.start))
            if run.opened - len(course.epochs) not in (0, 1):
                raise ValueError(f"epoch {run.opened} after {len(course.epochs)} that are over")
        except (ValueError, ArithmeticError, LookupError, TypeError) as error:
            raise self._refusal(error) from error
        return self.start.job

    def _refusal(self, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"{self.source} does not hold a state of this run: {reason_of(error)}"
        )

    def close(self) -> None:
        """Let other runs have the folder; can be repeated."""
        if self.keeper is not None:
            self.keeper.close()

    def summary(self) -> dict[str, Any]:
        """Return what the result's settings say of saving."""
        kept = None if self.keeper is None else self.keeper.summary()
        return {"checkpoint": kept, "resumed": self.source}

    @property
    def failures(self) -> list[str]:
        """What could not be written, and why."""
        return [] if self.keeper is None else self.keeper.failures


@contextmanager
def saving_of(
    checkpoint: Checkpoint | PathLike | None,
    resume: bool | PathLike,
    is_writer: Callable[[], bool] | None = None,
) -> Iterator[Saving]:
    """Open the folder of checkpoints, and read the one to go on from.

    A job closes the folder at its end; an exception before closes it here.
    ``resume=True`` goes on with the newest checkpoint of the folder; without one, the run begins.
    is_writer: of several processes with this folder, whether this is the one that writes now.

    Yields
    ------
    Saving

    Raises
    ------
    CheckpointError
        When no checkpoint is whole.
    InvalidSettingError
        As `Keeper`.
    OSError
        When files cannot be read, or the folder cannot be written to.
    """
    checkpoint = checked_checkpoint(checkpoint, resume)
    if checkpoint is None and resume is False:
        yield Saving()
        return
    keeper = None
    if checkpoint is not None:
        keeper = Keeper(checkpoint, continues=resume is not False, is_writer=is_writer)
    try:
        source: str | None = None
        start: Snapshot | None = None
        if isinstance(resume, bool):
            if resume and keeper is not None and keeper.has_files:
                source, start = newest(keeper.folder)
        else:
            source, start = newest(resume)
        yield Saving(keeper, source, start)
    except BaseException:
        if keeper is not None:
            keeper.close()
        raise
