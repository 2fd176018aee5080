"""Vowpal Wabbit: its adaptive, normalised, invariant gradient steps, one thread.

It reads text of its own form, which is written once and not timed, and makes a binary
cache of it. `seconds` is a run of all passes from that cache, with loading and saving;
`whole` is one that reads the text and makes the cache first. Weights have as many bits as
the features need, so that none collide but with the intercept. --holdout_off, since
passes are given. Rates of 0.1 to 2 were tried on each set, --power_t of 0.5 (the
default) and 0.25, and --bfgs, which was slower.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from bench.data import Dataset
from bench.harness import Sample, Side
from bench.ours import measured
from bench.peers import text

_LABELS = {"0": "-1 |", "1": "1 |"}


def _examples(svmlight: Path) -> Path:
    """Return the rows in its form, written when first asked."""
    path = svmlight.with_suffix(".vw")
    if not path.exists():
        with svmlight.open() as rows, path.open("w") as examples:
            for row in rows:
                label, _, features = row.partition(" ")
                examples.write(f"{_LABELS[label]} {features}")
    return path


def _run(options: str) -> float:
    """Return the seconds of a job that reads a file."""
    from vowpalwabbit import Workspace  # noqa: PLC0415 - a peer that may be missing

    started = time.perf_counter()
    Workspace(f"{options} --quiet").finish()
    return time.perf_counter() - started


def side(data: Dataset, *, l2: float, rate: float, passes: int, power: float = 0.5) -> Side:
    """Return a side that trains twice: from the text, and from the cache of it."""
    bits = max(18, int(data.X.shape[1] - 1).bit_length())

    def run() -> Sample:
        train, test = map(_examples, text.svmlight(data))
        cache, model, margins = (text.folder / f"vw.{part}" for part in ("cache", "model", "out"))
        job = (
            f"--loss_function logistic -d {train} --cache_file {cache} -f {model} -b {bits} "
            f"--passes {passes} --l2 {l2!r} -l {rate!r} --power_t {power!r} --holdout_off"
        )
        whole = _run(f"{job} -k")
        seconds = _run(job)
        _run(f"-t -i {model} -d {test} -p {margins}")
        return measured(np.loadtxt(margins), data, seconds=seconds, whole=whole)

    return run
