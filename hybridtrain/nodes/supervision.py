# SPDX-License-Identifier: BSD-3-Clause
"""The process that called `train`: starts nodes, watches them, calls the user's functions."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import Any, Protocol

from hybridtrain.arguments import require_bool, require_positive
from hybridtrain.errors import InvalidSettingError, NodesLostError, TrainingInterrupted
from hybridtrain.interrupts import Interrupts
from hybridtrain.nodes import messages
from hybridtrain.nodes.driving import Driving
from hybridtrain.nodes.local import LocalNode
from hybridtrain.nodes.outcome import error_of, result_of
from hybridtrain.observe.records import EpochRecord
from hybridtrain.optimizers.schedules import Constant
from hybridtrain.parallel import await_end
from hybridtrain.run.budget import Budget
from hybridtrain.run.progress import Progress, tell
from hybridtrain.run.result import Result

_LOOK_SECONDS = 0.1  # between two looks for signals
_GLANCE_SECONDS = 0.02  # between two looks at the processes
_PARTING_SECONDS, _END_SECONDS = 0.1, 1.0  # at least, for nodes elsewhere; at most
_MOST_DEATHS = 3  # of a place in an epoch
_TERMINATED = 128 + signal.SIGTERM  # the exit code


class Hosts(Protocol):
    """Where the nodes of a run come from."""

    def driving(self, version: str, timeout: float, **called: Any) -> Driving:
        """Return what watches the nodes; `called` are the functions of `Driving`."""

    def start(self) -> Sequence[LocalNode]:
        """Start the nodes that are processes of this machine, and return them."""

    def close(self) -> None:
        """Let go of the nodes; those whose run is not over learn that it is."""


def train_on_nodes(
    hosts_of: Callable[[Mapping[str, Any]], Hosts], arguments: Mapping[str, Any], version: str
) -> Result:
    """Drive a run on nodes.

    Parameters
    ----------
    hosts_of : function
        Gets the arguments of the nodes' own `train`, and returns where the nodes come from.
    arguments : mapping
        Those of `train`.
    version : str
        Of the package.

    Returns
    -------
    Result

    Raises
    ------
    InvalidSettingError
        When an argument does not go with several nodes.
    NodesLostError
        When the run cannot go on.
    Exception
        What `train` raises, as a node has raised it.
    """
    began = time.perf_counter()
    given = dict(arguments)
    callbacks, progress = given.pop("callbacks"), given.pop("progress")
    timeout = require_positive("timeout", given["timeout"])
    if progress is not None:
        progress = require_bool("progress", progress)
    refuse_unsupported(given)
    budget = _budget(given["seconds"], given["epochs"], began)
    shown = Progress(progress, given["epochs"], budget)
    lines: list[str] = []

    # As in one process: with a checkpoint, a SIGTERM that nobody else handles ends the program.
    interrupts = Interrupts(*[signal.SIGTERM] * (given["checkpoint"] is not None))

    def on_epoch(record: EpochRecord) -> bool:
        shown.tick(record)
        return any([bool(interrupts.through(callback, record)) for callback in callbacks])

    def on_delay(text: str) -> None:
        if progress is not False:
            tell(f"hybridtrain: {text}")

    def on_line(text: str) -> None:
        lines.append(text)
        if len(lines) > 1:
            on_delay(text)

    started: list[LocalNode] = []
    hosts = hosts_of(given)
    try:
        driving = hosts.driving(version, timeout, on_line=on_line, on_delay=on_delay, budget=budget)
        started += hosts.start()
        with interrupts as interrupts:
            is_interrupted = _drive(driving, started, interrupts, on_epoch)
        try:
            result = _result_of(driving, lines)
            if is_interrupted or interrupts.take():
                raise TrainingInterrupted(
                    "interrupted when the run was over; .result holds all of it", result=result
                )
        except TrainingInterrupted as ending:
            if interrupts.ends_process:
                raise SystemExit(_TERMINATED) from ending
            raise
        _part(driving, started)
    finally:
        shown.close()
        for each in started:
            each.end(0.0)
        hosts.close()
    return result


def refuse_unsupported(given: Mapping[str, Any]) -> None:
    """Refuse the arguments of `train` that do not go with nodes yet."""
    unsupported = {
        "record": None,
        "chaos": None,
    }
    for name, absent in unsupported.items():
        if given[name] is not absent:
            raise InvalidSettingError(f"{name} does not go with nodes yet; leave it out")


def _budget(seconds: float | None, epochs: int, began: float) -> Budget | None:
    """Return the time of a run, by which the epochs that fit are counted: rates are the nodes'."""
    if seconds is None:
        return None
    budget = Budget(seconds, began)
    budget.open(schedule=Constant(), lr=1.0, epochs=epochs, extra_share=0.0)
    return budget


def _drive(
    driving: Driving,
    nodes: list[LocalNode],
    interrupts: Interrupts,
    on_epoch: Callable[[EpochRecord], bool],
) -> bool:
    """Watch the nodes in a thread until the run has ended; call the user's functions in this one.

    So a function may take its time: the nodes hear of the driver meanwhile.

    Returns
    -------
    bool
        Whether a signal was to end the run.

    Raises
    ------
    KeyboardInterrupt
        At a signal before there is a view; and at a second one.
    """
    errors: list[BaseException] = []
    thread = threading.Thread(
        target=_watch, args=(driving, nodes, errors), name="hybridtrain-driver", daemon=True
    )
    thread.start()
    record: EpochRecord | None = None
    is_interrupted = False
    try:
        while record is not None or thread.is_alive():
            if interrupts.take():
                if is_interrupted or not driving.is_training:
                    raise KeyboardInterrupt
                is_interrupted = True
                driving.post(partial(driving.end_step, "interrupt"))
            record = None
            with suppress(Empty):
                record = driving.records.get(timeout=_LOOK_SECONDS)
            if record is not None:
                what: messages.Command = "go on"
                try:
                    what = "stop" if on_epoch(record) else "go on"
                except KeyboardInterrupt:
                    interrupts.is_noted = True
                if is_interrupted or interrupts.is_noted:
                    what, is_interrupted = "interrupt", True
                    interrupts.take()
                driving.post(partial(driving.order, record.epoch, what))
    finally:
        driving.is_closing = True
        driving.link.wake()
        await_end([thread])
    if errors:
        raise errors[0]
    return is_interrupted


def _watch(driving: Driving, nodes: list[LocalNode], errors: list[BaseException]) -> None:
    """Turn the loop until the run has ended; start a process again whose node has died.

    A place whose processes have died three times within an epoch stays empty.
    """
    living, deaths = list(nodes), Counter[tuple[str, int]]()
    try:
        while driving.end is None and driving.failure is None and not driving.is_closing:
            driving.turn(_GLANCE_SECONDS)
            for node in list(living):
                cause = node.death()
                if cause is not None:
                    living.remove(node)
                    driving.turn(0.0)  # what it has said before
                    driving.node_ended(node.incarnation, cause)
                    deaths[node.name, driving.epoch] += 1
                    n_deaths = deaths[node.name, driving.epoch]
                    if driving.is_training and not driving.is_ending and n_deaths < _MOST_DEATHS:
                        nodes.append(node.again())
                        living.append(nodes[-1])
    except BaseException as error:  # raised by the caller's thread
        errors.append(error)
    finally:
        driving.link.acknowledge()  # nodes wait for that before they end
        driving.records.put(None)


def _part(driving: Driving, nodes: Sequence[LocalNode]) -> None:
    """Serve the link while the nodes end: each waits until its last word is acknowledged."""
    began = time.monotonic()
    while time.monotonic() < began + _END_SECONDS:
        if time.monotonic() > began + _PARTING_SECONDS and all(each.death() for each in nodes):
            break
        driving.link.receive(_GLANCE_SECONDS)


def _result_of(driving: Driving, lines: Sequence[str]) -> Result:
    if driving.failure is not None:
        raise error_of(driving.failure.error, driving.failure.text)
    assert driving.end is not None
    if driving.end.ending != "done":
        raise NodesLostError(driving.end.reason, nodes=driving.end.words)
    return result_of(driving.content, driving.nodes, lines)
