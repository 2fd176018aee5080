"""What does it cost to record a run, and how fast is its replay?

Two workers, the strategies whose parameters are all in replicas: without a record, with one, and
the replay of one record by one thread. The bits of each replay are those of its run, else the
benchmark fails.
"""  # noqa: D400 - a question

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

import hybridtrain as ht
from bench import ours
from bench.data import TINY, Dataset, load
from bench.harness import Figures, Sample, Side, interleave

NAME = "rcv1l"
STRATEGIES = ("async", "hybrid(hot=1.0)", "async(every=256)")
EPOCHS = 2 if TINY else 20
WITHOUT, RECORDED, REPLAYED = "without a record", "recorded", "replayed"


def _train(data: Dataset, strategy: str, **settings: Any) -> ht.Result:
    return ht.train(
        ht.Linear(l2=ours.L2),
        (data.X, data.y),
        strategy=strategy,
        optimizer=ht.SGD(lr="formula"),
        workers=2,
        epochs=EPOCHS,
        progress=False,
        **settings,
    )


def _sample(result: ht.Result, nbytes: int = 0) -> Sample:
    rows = sum(record.rows for record in result.history)
    return {"rate": ours.rate(result), "bytes": nbytes / rows}


def _recorded(data: Dataset, strategy: str) -> Side:
    def run() -> Sample:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "run.htr"
            return _sample(_train(data, strategy, record=file), file.stat().st_size)

    return run


def _replayed(data: Dataset, strategy: str, file: Path) -> Side:
    first = _train(data, strategy, record=file)

    def run() -> Sample:
        again = ht.replay(file, (data.X, data.y))
        assert again.params["coef"].tobytes() == first.params["coef"].tobytes(), "bits differ"
        return _sample(again)

    return run


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_recording(benchmark: Any, figures: Figures, strategy: str, tmp_path: Path) -> None:
    data = load(NAME)
    sides = {
        WITHOUT: lambda: _sample(_train(data, strategy)),
        RECORDED: _recorded(data, strategy),
        REPLAYED: _replayed(data, strategy, tmp_path / "run.htr"),
    }
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        rates = [r / 1e6 for r in rounds.values(who, "rate")]
        sizes = rounds.values(who, "bytes")
        figures.side(f"{NAME}, {strategy}", who, **{"M rows/s": rates, "bytes a row": sizes})
    figures.answer(
        f"{NAME}, {strategy}: rows/s, {RECORDED} over {WITHOUT}",
        rounds.ratio("rate", RECORDED, WITHOUT),
        goal=0.98,
        goal_is="least",
        rounds=rounds,
    )
