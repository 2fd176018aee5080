# SPDX-License-Identifier: BSD-3-Clause
"""Train in a loop, whatever signals come, and tell of each run in a line; for storm.py.

Signals are blocked from the end of a run until it is told of, so that each of them
meets a run, or the few lines around it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from typing import Any

import numpy as np

import hybridtrain as ht

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTED: list[int] = []  # signals that came between two runs
ROWS = {"short": 500, "long": 60_000}


def fault_of(result: ht.Result, n_rows: int) -> str:
    """Return what is wrong with the records of a run; "" if nothing is."""
    trained = [record.trained for record in result.ledger]
    if [record.trained + record.dropped for record in result.ledger] != [n_rows] * len(trained):
        return "the ledger does not add up to the rows"
    if sum(worker.rows for worker in result.workers) != sum(trained):
        return "the workers' rows are not those of the ledger"
    told = [(record.epoch, record.rows) for record in result.history]
    if told != [(record.epoch, record.trained) for record in result.ledger if record.trained]:
        return "history and ledger differ"
    return "" if np.isfinite(result.params["coef"]).all() else "parameters are not finite"


def run(data: tuple[Any, Any], strategy: str, workers: int) -> tuple[str, str]:
    """Train once; return what came of it, and what is wrong."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        result = ht.train(ht.Linear(), data, strategy=strategy, workers=workers, progress=False)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    except ht.TrainingInterrupted as error:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        return "interrupted", fault_of(error.result, len(data[1]))
    except KeyboardInterrupt as error:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        places = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        return "before", "a result was lost: " + " ".join(places) if "_train" in places else ""
    return "done", fault_of(result, len(data[1]))


def main() -> None:
    """Run until standard input is closed."""
    strategy, workers, length = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    X = np.random.default_rng(0).standard_normal((ROWS[length], 20)).astype(np.float32)
    data = X, X[:, 0] > 0
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    sys.unraisablehook = _show_where
    parent = os.getppid()
    while os.getppid() == parent:
        _handle(signal.default_int_handler)
        outcome = "around", ""  # where a signal comes between a run and the block
        with contextlib.suppress(KeyboardInterrupt):
            outcome = run(data, strategy, workers)
        # A thread that is about to end may have been the one that got the signal: Python then
        # calls the handler of the moment, some lines later.
        _handle(_note)
        if NOTED:
            NOTED.clear()
            outcome = "around", outcome[1]
        os.write(1, json.dumps(outcome).encode() + b"\n")


def _show_where(dropped: Any) -> None:
    """Show where Python dropped an interrupt, as in what it calls when an object is deleted."""
    print(f"Python dropped {dropped.exc_value!r} in {dropped.object!r}", file=sys.stderr)
    traceback.print_stack()


def _note(number: int, frame: Any) -> None:
    del frame
    NOTED.append(number)


def _handle(handler: Any) -> None:
    """Block the signals and set their handler; note those that come meanwhile."""
    is_set = False
    while not is_set:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            for number in SIGNALS:
                signal.signal(number, handler)
            is_set = True
        except KeyboardInterrupt:
            NOTED.append(0)


if __name__ == "__main__":
    main()
