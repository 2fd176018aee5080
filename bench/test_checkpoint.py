"""What does it cost to save a run every second, and what to go on with it?

Two workers, all strategies: without checkpoints, with one every second, and from a checkpoint of
the run's middle. With Sync the bits of all three are equal, else the benchmark fails.
"""  # noqa: D400 - a question

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

import hybridtrain as ht
from bench import ours
from bench.data import TINY, Dataset, load
from bench.harness import Figures, Sample, Side, interleave

NAME = "rcv1l"
STRATEGIES = ("sync", "hybrid")
EPOCHS = {"sync": 40, "hybrid": 60}
SECONDS = 0.01 if TINY else 1.0
WITHOUT, SAVED, RESUMED = "without checkpoints", "one every second", "from the middle on"


def _train(data: Dataset, strategy: str, **settings: Any) -> ht.Result:
    return ht.train(
        ht.Linear(l2=ours.L2),
        (data.X, data.y),
        strategy=strategy,
        optimizer=ht.SGD(lr="formula"),
        workers=2,
        epochs=4 if TINY else EPOCHS[strategy],
        progress=False,
        **settings,
    )


def _sample(result: ht.Result, seconds: float) -> Sample:
    written = (result.settings["checkpoint"] or {}).get("written", 0)
    return {
        "rate": ours.rate(result),
        "whole": seconds,
        "written": written,
        "bits": hash(result.params["coef"].tobytes()),
    }


def _timed(data: Dataset, strategy: str, **settings: Any) -> Sample:
    started = time.perf_counter()
    result = _train(data, strategy, **settings)
    return _sample(result, time.perf_counter() - started)


def _saved(data: Dataset, strategy: str) -> Side:
    def run() -> Sample:
        with tempfile.TemporaryDirectory() as folder:
            saved = ht.Checkpoint(folder, every_seconds=SECONDS)
            return _timed(data, strategy, checkpoint=saved)

    return run


def _resumed(data: Dataset, strategy: str) -> Side:
    """Interrupt a run at its middle, once, and go on from there each time."""
    folder = Path(tempfile.mkdtemp())

    def interrupt(record: ht.EpochRecord) -> None:
        if record.epoch == (2 if TINY else EPOCHS[strategy] // 2):
            raise KeyboardInterrupt

    with pytest.raises(ht.TrainingInterrupted):
        _train(data, strategy, checkpoint=folder, callbacks=[interrupt])
    content = max(folder.glob("*.checkpoint")).read_bytes()
    shutil.rmtree(folder)

    def run() -> Sample:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            return _timed(data, strategy, resume=file.name)

    return run


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_checkpoint(benchmark: Any, figures: Figures, strategy: str) -> None:
    data = load(NAME)
    sides = {
        WITHOUT: lambda: _timed(data, strategy),
        SAVED: _saved(data, strategy),
        RESUMED: _resumed(data, strategy),
    }
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        rates = [r / 1e6 for r in rounds.values(who, "rate")]
        written = rounds.values(who, "written")
        figures.side(f"{NAME}, {strategy}", who, **{"M rows/s": rates, "checkpoints": written})
    if strategy == "sync":
        assert len({b for who in sides for b in rounds.values(who, "bits")}) == 1, "bits differ"
    figures.answer(
        f"{NAME}, {strategy}: rows/s, {SAVED} over {WITHOUT}",
        rounds.ratio("rate", SAVED, WITHOUT),
        goal=0.97,
        goal_is="least",
        rounds=rounds,
    )
