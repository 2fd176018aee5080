# SPDX-License-Identifier: BSD-3-Clause
"""Faults on purpose, to rehearse on one's own job what a kill, a stop or a full disk does.

A `Plan` is a list of faults; `train(..., chaos=plan)` does them, and `result.faults` says which
fired, when, and how long they kept their worker from working. A fault with `step` is exact:
the core holds a worker at that step until the fault has been done. A step is a batch of `Sync`, or
what all replicas of `LocalSGD` do up to a merge; of the other strategies it is a chunk of up to 512
rows. Steps are counted from 1 at the start of the run, over all workers and epochs. In a
run of several strategies, `Sync` and `LocalSGD` count them from the start of their part. A fault is
done once, in the first part that comes to its step and point.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hybridtrain.arguments import MOST_SEED, nearest, plain, require_int, require_positive, shown
from hybridtrain.errors import InvalidSettingError

ANY = "any"
POINTS = {  # those of Sync are LocalSGD's, whose tasks are steps of replicas
    "before_claim": "Sync: about to take a task of the step",
    "after_claim": "Sync: has taken a task, and computed nothing of it",
    "in_computing": "Sync: has computed the gradients of the first rows of its task",
    "after_commit": "Sync: its result is the one that counts, and is not added to its sums",
    "in_adding": "Sync: a part of its result is added to its sums",
    "after_add": "Sync: all of its result is added, and nobody has been told",
    "in_merging": "Sync: has taken a block of parameters to merge",
    "in_judging": "Sync: is deciding whether the step counts",
    "after_block_commit": "Sync: its merged block is the one that counts, and is not copied",
    "in_copying": "Sync: a part of its merged block is copied to the parameters",
    "heir_copying": "Sync: likewise, of a block that a dead worker had merged",
    "after_copy": "Sync: its block is copied, and nobody has been told",
    "before_phase": "Sync: about to open the merge, or the next step, for all",
    "before_wake": "Sync: has opened it, and not woken the others",
    "position_taken": "Hybrid, Async, Hogwild: has drawn a chunk of rows, and not signed for it",
    "chunk_claimed": "Hybrid, Async, Hogwild: has signed for a chunk, and not noted where it is",
    "chunk_begun": "Hybrid, Async, Hogwild: is before the first row of its chunk",
    "group_stepped": "Hybrid, Async, Hogwild: has trained a few rows, and not noted that",
    "group_finished": "Hybrid, Async, Hogwild: has trained a few rows, and noted that",
    "at_gate": "Async: has counted its merge, and not looked whether the gate lets it pass",
    "exchange_locked": "Hybrid, Async: holds a block of shared parameters locked",
    "exchange_committed": "Hybrid, Async: its merged block counts, and is not copied",
    "in_averaging": "Hybrid, Async, Hogwild with averages: its average is half updated",
}
PLACES = ("checkpoint",)  # of Fail
_MOST_WORKER = 1023
_MOST_STEP = (1 << 32) - 2
_MOST_FACTOR = 1e6
_DEADLY = ("SIGKILL", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")


def _one_of(name: str, word: Any, words: Iterable[str]) -> str:
    """Return a word of a list; spaces stand for underscores."""
    found = word.replace(" ", "_") if isinstance(word, str) else word
    if isinstance(found, str) and found in set(words):
        return found
    raise InvalidSettingError(
        f"{name} must be one of {', '.join(words)}, got {shown(word)}{nearest(found, words)}"
    )


def _set(fault: Any, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(fault, name, value)


def _check_place(fault: Kill | Stop) -> None:
    """Check worker, at and step, and write them in their usual form."""
    kind = type(fault).__name__
    worker, at, step = plain(fault.worker), fault.at, fault.step
    if worker is None or worker == ANY:
        worker = ANY
    elif isinstance(worker, str):
        raise InvalidSettingError(f'{kind}: worker must be "any" or a number, got {shown(worker)}')
    else:
        worker = require_int(f"{kind}: worker", worker, least=0, most=_MOST_WORKER)
    if at is not None:
        at = _one_of(f"{kind}: at", at, POINTS)
    if step is not None:
        step = require_int(f"{kind}: step", step, least=1, most=_MOST_STEP)
    _set(fault, worker=worker, at=at, step=step)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """Kill a worker process, once.

    Parameters
    ----------
    worker : int or "any"
        From 0; "any": the first one that comes to the point, or one drawn by the plan's seed.
    at : str, optional
        A name of `POINTS`; spaces may stand for underscores. The worker is killed exactly there.
        None: wherever it is when the run comes to the step.
    step : int, optional
        At least 1: not before this step. None: as soon as possible.
    signal : str
        "SIGKILL", or what a crash sends: "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT".
    """

    worker: int | str | None = ANY
    at: str | None = None
    step: int | None = None
    signal: str = "SIGKILL"

    def __post_init__(self) -> None:
        _check_place(self)
        _set(self, signal=_one_of("Kill: signal", self.signal, _DEADLY))


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """Stop a worker process by SIGSTOP, once, and let it go on later.

    Parameters
    ----------
    worker, at, step
        As for `Kill`.
    seconds : float, optional
        Greater than 0: until SIGCONT. None: for ever. The run kills a stopped worker that
        keeps the others waiting for longer than `timeout`; at its end all go on.
    """

    worker: int | str | None = ANY
    at: str | None = None
    step: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        _check_place(self)
        if self.seconds is not None:
            _set(self, seconds=require_positive("Stop: seconds", self.seconds))


@dataclass(frozen=True, kw_only=True, slots=True)
class Slow:
    """Make a worker slow for the whole run; for threads as well.

    Parameters
    ----------
    worker : int
        From 0.
    factor : float
        In 1 .. 1e6: its tasks, or chunks of rows, take this many times as long.
    """

    worker: int
    factor: float

    def __post_init__(self) -> None:
        worker = require_int("Slow: worker", self.worker, least=0, most=_MOST_WORKER)
        factor = require_positive("Slow: factor", self.factor)
        if not 1 <= factor <= _MOST_FACTOR:
            raise InvalidSettingError(f"Slow: factor must be in 1 .. 1e6, got {shown(factor)}")
        _set(self, worker=worker, factor=factor)


@dataclass(frozen=True, slots=True)
class Fail:
    """Let a write fail, once; for threads as well.

    Parameters
    ----------
    error : str
        The name of an error of the system: "ENOSPC", "EIO", "EACCES", ...
    at : str
        "checkpoint": the writing of a checkpoint.
    time : int
        At least 1: which writing, from 1 at the start of the run.
    """

    error: str
    at: str = "checkpoint"
    time: int = 1

    def __post_init__(self) -> None:
        names = errno.errorcode.values()
        error = self.error.upper() if isinstance(self.error, str) else self.error
        if error not in names:
            near = nearest(error, [name.lower() for name in names])
            raise InvalidSettingError(
                'Fail: error must be the name of an error of the system, such as "ENOSPC", got '
                f"{shown(self.error)}{near}"
            )
        at = _one_of("Fail: at", self.at, PLACES)
        _set(self, error=error, at=at, time=require_int("Fail: time", self.time, least=1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Random:
    """Kill and stop workers again and again, each step with a probability.

    The plan's seed draws the steps: the same plan does the same at the same steps. A step that
    passes while an earlier fault is being done has none. The worker is drawn too, from those
    that have worked since their start.

    Parameters
    ----------
    kill, stop : float
        In 0 .. 1: the probability that a worker is killed, or stopped, in a step.
    seconds : float
        Greater than 0: how long a stopped worker stays stopped.
    """

    kill: float = 0.0
    stop: float = 0.0
    seconds: float = 0.1

    def __post_init__(self) -> None:
        for name in ("kill", "stop"):
            share = plain(getattr(self, name))
            is_number = isinstance(share, int | float) and not isinstance(share, bool)
            if not (is_number and 0 <= share <= 1):
                raise InvalidSettingError(
                    f"Random: {name} must be a probability in 0 .. 1, got {shown(share)}"
                )
            _set(self, **{name: float(share)})
        _set(self, seconds=require_positive("Random: seconds", self.seconds))


Fault = Kill | Stop | Slow | Fail | Random


@dataclass(frozen=True, slots=True)
class Plan:
    """List the faults of one run.

    Parameters
    ----------
    faults : sequence of Kill, Stop, Slow, Fail and Random
        Kept as a tuple. Faults at one point happen one after the other, by their steps. A later
        run with the same plan does them again.
    seed : int
        In 0 .. 2**64 - 1: draws the steps of `Random` and the workers of "any".

    Examples
    --------
    >>> from hybridtrain import chaos
    >>> plan = chaos.Plan([chaos.Kill(worker=1, at="after commit", step=40)], seed=0)
    >>> plan.faults[0].at
    'after_commit'
    """

    faults: Sequence[Fault]
    seed: int = 0

    def __post_init__(self) -> None:
        expected = "a plan's faults must be a list of Kill, Stop, Slow, Fail and Random"
        try:
            faults = tuple(self.faults)
        except TypeError:
            raise InvalidSettingError(f"{expected}, got {shown(self.faults)}") from None
        for fault in faults:
            if not isinstance(fault, Fault):
                raise InvalidSettingError(f"{expected}; one is {shown(fault)}")
        seed = require_int("seed of the plan", self.seed, least=0, most=MOST_SEED)
        _set(self, faults=faults, seed=seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultRecord:
    """Report a fault of a plan.

    Attributes
    ----------
    fault : Kill, Stop, Slow, Fail or Random
        Each fault of a Random is one Kill or Stop; a Random of which nothing fired stands
        for itself.
    fired : bool
        Whether it happened. A fault does not when its worker never came to the point, or the run
        was over.
    worker, step, epoch : int or None
        Whom it met, and where: the worker's step, and the run's epoch.
    seconds : float or None
        From the start of the workers to the fault.
    cost : float or None
        Seconds until the worker's place did work again, to about a millisecond; None: it did none
        before the end of the run, or the fault is no kill and no stop.
    """

    fault: Fault
    fired: bool
    worker: int | None = None
    step: int | None = None
    epoch: int | None = None
    seconds: float | None = None
    cost: float | None = None


def parse_chaos(text: str, seed: int = 0) -> Plan:
    """Turn "kill:0.01" or "kill:0.01,stop:0.02" into a plan.

    Raises
    ------
    InvalidSettingError
        When a word is unknown, or its number is no probability.

    Examples
    --------
    >>> parse_chaos("kill:0.01").faults
    (Random(kill=0.01, stop=0.0, seconds=0.1),)
    """
    expected = "chaos must be kill:P, stop:P or both, such as kill:0.01,stop:0.02"
    shares: dict[str, float] = {}
    for part in text.split(","):
        word, _, number = part.strip().partition(":")
        if word not in ("kill", "stop") or word in shares:
            raise InvalidSettingError(
                f"{expected}, got {shown(text)}{nearest(word, ['kill', 'stop'])}"
            )
        try:
            shares[word] = float(number)
        except ValueError:
            raise InvalidSettingError(
                f"{expected}, got {shown(text)}: {shown(number)} is no probability"
            ) from None
    return Plan((Random(**shares),), seed)


def checked_chaos(plan: Any, *, backend: str, workers: int) -> Plan | None:
    """Return a plan that goes with a run's settings.

    Raises
    ------
    InvalidSettingError
        When it is no plan, needs processes, or names a worker that the run does not have.
    """
    if plan is None:
        return None
    if not isinstance(plan, Plan):
        raise InvalidSettingError(
            f"chaos must be a plan, such as chaos.Plan([chaos.Kill(worker=0)]), got {shown(plan)}"
        )
    for fault in plan.faults:
        kind = type(fault).__name__
        if isinstance(fault, Kill | Stop | Random) and backend != "processes":
            raise InvalidSettingError(
                f'chaos: {kind} needs backend="processes": a thread cannot die or stop alone'
            )
        worker = None if isinstance(fault, Fail | Random) else fault.worker
        if isinstance(worker, int) and worker >= workers:
            raise InvalidSettingError(
                f"chaos: {kind}: worker must be below {workers}, the number of workers, got "
                f"{worker}"
            )
    return plan


def require_points(plan: Plan, points: tuple[str, ...]) -> None:
    """Refuse a fault at a point that a run does not pass.

    Raises
    ------
    InvalidSettingError
    """
    for fault in plan.faults:
        if isinstance(fault, Kill | Stop) and fault.at is not None and fault.at not in points:
            raise InvalidSettingError(
                f"chaos: {type(fault).__name__}: this run does not come to {fault.at} "
                f"({POINTS[fault.at]}); it comes to {', '.join(points)}"
            )
