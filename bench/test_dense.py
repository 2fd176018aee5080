"""How many samples a second on dense rows, and how soon a test accuracy?

Softmax regression on mnist, to a test accuracy of 0.92 and of 0.925. Each entrant has a
ladder of rungs, epochs for the most part, each a fit of its own from nothing. They run
once, in the order of their work, until one reaches the accuracy; it goes into the
interleaved repetitions. Ours has default settings but for Adam with Sync, the best of
SGD, momentum, Adam and several rates and batch sizes. The limit is what BLAS takes for the
margins of all rows and the products of their gradients with the rows.
"""  # noqa: D400 - a question

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import hybridtrain as ht
from bench import limits, softmax
from bench.data import TINY, Dataset, load
from bench.harness import Figures, Rounds, Sample, Side, interleave
from bench.peers import pytorch, scikit_learn_dense
from bench.peers.pytorch import Mode

LIMIT = "two products of BLAS"
NODES, DDP = "2 nodes of 1 worker", "PyTorch, DDP, 2 processes"
ACCURACIES = (0.92,) if TINY else (0.92, 0.925)
Ladder = list[tuple[str, Callable[[Dataset], Side]]]


def _epochs(make: Callable[..., Side], epochs: tuple[int, ...], **settings: Any) -> Ladder:
    words = "".join(f", {name} {value}" for name, value in settings.items() if name == "batch")
    rungs = epochs[:1] if TINY else epochs
    return [(f"{k} epochs{words}", partial(make, epochs=k, **settings)) for k in rungs]


def _ours() -> dict[str, Ladder]:
    settings: dict[str, dict[str, Any]] = {
        "Hybrid": {"strategy": "hybrid"},
        "Sync, Adam()": {"strategy": "sync", "optimizer": ht.Adam()},
    }
    shapes = {
        "1 worker": {"workers": 1},
        "2 workers": {"workers": 2},
        NODES: {"workers": 1, "nodes": 2},
    }
    return {
        f"{who}, {shape}": _epochs(softmax.side, (1, 2, 3, 4, 5, 6, 8, 12), **more, **given)
        for who, more in settings.items()
        for shape, given in shapes.items()
    }


def _scikit_learn() -> dict[str, Ladder]:
    logistic, rest = scikit_learn_dense.logistic, scikit_learn_dense.one_against_rest
    return {
        "LogisticRegression, lbfgs": _epochs(logistic, (30, 40, 60, 80), solver="lbfgs"),
        "LogisticRegression, saga": _epochs(logistic, (1, 2, 3, 4, 6, 8), solver="saga"),
        "SGDClassifier, one against the rest": _epochs(rest, (3, 8)),
    }


def _pytorch(rows: Any) -> dict[str, Ladder]:
    def ladder(mode: Mode, batch: int, lr: float) -> Ladder:
        def side(data: Dataset, **fit: Any) -> Side:
            return pytorch.side(data, rows, mode, lr=lr, momentum=0.9, **fit)

        return _epochs(side, (2, 3, 4, 5, 6, 8, 12), batch=16 if TINY else batch)

    found = {
        "PyTorch, Hogwild, 2 processes": ladder(Mode("hogwild", processes=2), 256, 0.2),
        "PyTorch, 1 thread": ladder(Mode("one"), 512, 0.3),
        "PyTorch, 2 threads": ladder(Mode("one", threads=2), 512, 0.3),
        DDP: ladder(Mode("ddp", processes=2), 512, 1.0),
    }
    return dict(list(found.items())[:1]) if TINY else found  # each start takes seconds


@pytest.fixture(scope="module")
def ladders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ladder]:
    found = {**_ours(), **_scikit_learn()}
    if pytorch.is_there():
        data = load("mnist")
        found |= _pytorch(pytorch.write(data.X, data.y, tmp_path_factory.mktemp("rows")))
    return found


_RUNS: dict[str, Sample] = {}  # of rungs, by entrant and words


def _climb(who: str, ladder: Ladder, data: Dataset, accuracy: float) -> tuple[str, Side] | None:
    """Return the first rung of an entrant that reaches the accuracy."""
    for words, make in ladder:
        side = make(data)
        if TINY:
            return words, side
        key = f"{who}: {words}"
        _RUNS[key] = _RUNS.get(key) or side()
        if _RUNS[key]["accuracy"] >= accuracy:
            return words, side
    return None


@pytest.mark.parametrize("accuracy", ACCURACIES)
def test_seconds(
    benchmark: Any, figures: Figures, ladders: dict[str, Ladder], accuracy: float
) -> None:
    data = load("mnist")
    name = f"mnist, accuracy {accuracy}"
    chosen = {}
    for who, ladder in ladders.items():
        rung = _climb(who, ladder, data, accuracy)
        if rung is not None:
            chosen[who] = rung
    if not pytorch.is_there():
        figures.side(name, "PyTorch", **{"left out": "not installed"})
    chosen[LIMIT] = "an epoch", limits.products(data)
    sides = {who: side for who, (_, side) in chosen.items()}
    rounds = interleave(benchmark, sides, guarded=True, repetitions=2 if TINY else 5)
    for who, (words, _) in chosen.items():
        figures.side(
            name,
            who,
            **{
                "samples/s of training": rounds.values(who, "rate"),
                "s of training": rounds.values(who, "seconds"),
                "s with preparing, or start of the processes": rounds.values(who, "whole"),
                "test accuracy": rounds.values(who, "accuracy"),
                "settings": words,
            },
        )
    for who in (who for who in ladders if who not in chosen):
        best = max(_RUNS[f"{who}: {words}"]["accuracy"] for words, _ in ladders[who])
        figures.side(name, who, **{"not reached": f"best test accuracy {best:.4f}"})
    _answer(figures, name, rounds)


def _answer(figures: Figures, name: str, rounds: Rounds) -> None:
    mine = "Hybrid, 2 workers"
    peers = [who for who in rounds.samples if not who.startswith(("Hybrid", "Sync", LIMIT))]

    def middle(who: str, metric: str) -> float:
        return sorted(rounds.values(who, metric))[len(rounds.kept()) // 2]

    peer = min(peers, key=lambda who: middle(who, "seconds"))
    theirs = rounds.values(peer, "seconds")
    for metric, words in (("whole", "the whole call"), ("seconds", "training alone")):
        ratios = [a / b for a, b in zip(rounds.values(mine, metric), theirs, strict=True)]
        what = f"{name}: {mine}, {words}, over {peer}, training alone"
        figures.answer(what, ratios, rounds=rounds)
    for other in (max(peers, key=lambda who: middle(who, "rate")), LIMIT):
        what = f"{name}: samples/s of {mine} over {other}"
        figures.answer(what, rounds.ratio("rate", mine, other), rounds=rounds)
    for who in ("Hybrid", "Sync, Adam()"):
        if DDP in peers:
            nodes = f"{who}, {NODES}"
            what = f"{name}: samples/s of {nodes} over {DDP}"
            figures.answer(what, rounds.ratio("rate", nodes, DDP), goal=1.5, rounds=rounds)
            what = f"{name}: seconds of training of {nodes} over {DDP}"
            ratios = rounds.ratio("seconds", nodes, DDP)
            figures.answer(what, ratios, goal=0.7, goal_is="most", rounds=rounds)
        what = f"{name}: samples/s of {who}, 2 workers over 1"
        ratios = rounds.ratio("rate", f"{who}, 2 workers", f"{who}, 1 worker")
        figures.answer(what, ratios, rounds=rounds)
