# SPDX-License-Identifier: BSD-3-Clause
"""Hierarchical: one group is its inner strategy; several groups learn; what is refused."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted

import hybridtrain as ht
from hybridtrain._core.stream import Stream
from hybridtrain.machine import numa_nodes, usable_core_numbers
from hybridtrain.strategies.hierarchical import _split
from hybridtrain.strategies.parse import default_strategies, parse_strategy, strategy_name

SEVERAL = (
    ht.Hierarchical(groups=2),
    ht.Hierarchical(groups=2, between="hybrid(hot=40, every=64)"),
    ht.Hierarchical(groups=2, between=ht.Async(every=32, staleness=2)),
)


@pytest.fixture(scope="module")
def tall() -> Problem:
    return planted(1, 20_000, 300, longest=30)


def _train(problem: Problem, strategy: Any, **settings: Any) -> ht.Result:
    usual: dict[str, Any] = {"workers": 2, "epochs": 3, "progress": False}
    X = settings.pop("X", problem.X)
    return ht.train(
        ht.Linear(l2=1e-4), (X, problem.labels), strategy=strategy, **{**usual, **settings}
    )


def _bits(result: ht.Result) -> str:
    coef = result.params["coef"]
    assert np.any(coef)
    return hashlib.sha256(coef.tobytes() + repr(result.history[-1].loss).encode()).hexdigest()


# ---- equivalences


@pytest.mark.parametrize(
    ("within", "workers"),
    [
        *((each, 1) for each in ("hogwild", "hogwild(exact=True)", "hybrid", "async(every=9)")),
        *((each, 3) for each in ("sync", "sync(exact=False)", "local_sgd(replicas=2, every=4)")),
    ],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "ftrl"])
def test_one_group_has_the_bits_of_its_inner_strategy(
    within: str, workers: int, optimizer: str, problem: Problem
) -> None:
    inner = _train(problem, within, workers=workers, optimizer=optimizer)
    ours = _train(
        problem, ht.Hierarchical(within=within, groups=1), workers=workers, optimizer=optimizer
    )
    assert _bits(ours) == _bits(inner)
    assert ours.settings["lr"] == inner.settings["lr"]
    assert ours.settings["groups"] == [{"workers": workers, "cores": None}]


def test_one_group_takes_a_batch_size_where_its_strategy_does(problem: Problem) -> None:
    given = {"batch_size": 64, "workers": 3}
    one = ht.Hierarchical(within="sync", groups=1)
    assert _bits(_train(problem, one, **given)) == _bits(_train(problem, "sync", **given))
    for strategy in (ht.Hierarchical(groups=1), ht.Hierarchical(groups=2)):
        with pytest.raises(ht.InvalidSettingError, match="batch_size must be 1"):
            _train(problem, strategy, batch_size=64)


def test_what_it_promises_is_what_one_group_promises() -> None:
    sync = parse_strategy(ht.Hierarchical(within="sync", groups=1))
    assert sync.same_bits(3)
    assert sync.same_bits_for_any_workers
    several = parse_strategy(ht.Hierarchical(groups=2))
    assert several.same_bits(1)
    assert not several.same_bits(2)
    assert not several.same_bits_for_any_workers


# ---- several groups


@pytest.mark.parametrize("strategy", SEVERAL, ids=strategy_name)
@pytest.mark.parametrize("workers", [2, 4, 5])
@pytest.mark.parametrize("optimizer", ["sgd", "sgd(average=True)", "adagrad", "ftrl"])
def test_groups_train_every_row_and_learn_as_hybrid_does(
    optimizer: str, workers: int, strategy: ht.Hierarchical, tall: Problem
) -> None:
    settings: dict[str, Any] = {"optimizer": optimizer, "validation": 0.2, "epochs": 5}
    ours = _train(tall, strategy, workers=workers, **settings)
    hybrid = _train(tall, "hybrid(every=64)", workers=workers, **settings)
    sizes = [group["workers"] for group in ours.settings["groups"]]
    assert sizes == {2: [1, 1], 4: [2, 2], 5: [2, 3]}[workers]
    assert [record.trained for record in ours.ledger] == [16_000] * 5
    assert sum(worker.rows for worker in ours.workers) == 5 * 16_000
    assert len(ours.workers) == workers
    losses = [result.history[-1].validation_loss for result in (ours, hybrid)]
    assert losses[0] is not None
    assert losses[1] is not None
    assert losses[0] <= 1.1 * losses[1]  # a slow machine runs one worker at a time


def test_flights_are_told_as_well_as_by_hybrid() -> None:
    flights = ht.datasets.flights()
    settings: dict[str, Any] = {
        "workers": 4,
        "epochs": 2,
        "progress": False,
        "validation": flights.validation,
    }
    losses = []
    for strategy in ("hybrid", *SEVERAL):
        result = ht.train(ht.Linear(l2=1e-6), flights.train, strategy=strategy, **settings)
        assert result.history[-1].validation_loss is not None
        losses.append(result.history[-1].validation_loss)
    assert max(losses) <= 1.02 * losses[0]


def test_the_gate_holds_between_workers_of_groups(tall: Problem) -> None:
    slow = ht.chaos.Plan([ht.chaos.Slow(worker=1, factor=20.0)])
    strategy = ht.Hierarchical(groups=2, between=ht.Async(every=16, staleness=1))
    result = _train(tall, strategy, workers=4, chaos=slow)
    assert all(worker.ahead <= 1 for worker in result.workers)
    assert max(worker.ahead for worker in result.workers) == 1
    assert result.staleness.max > 0


def test_dense_rows_have_one_worker_of_each_group(
    problem: Problem, caplog: pytest.LogCaptureFixture
) -> None:
    X = problem.X.toarray()
    caplog.set_level(logging.INFO, logger="hybridtrain")
    for optimizer in ("sgd", "adam"):
        caplog.clear()
        result = _train(problem, "hierarchical(groups=2)", X=X, workers=5, optimizer=optimizer)
        assert len(result.workers) == 2
        assert "workers reduced to 2: 5 workers in 2 groups would" in caplog.text
        assert "one worker of each group trains" in result.settings["workers_reason"]
        assert result.settings["groups"] == [{"workers": 1, "cores": None}] * 2
    partly = ht.Hierarchical(groups=2, between="hybrid(hot=0.5)")
    for strategy, name in ((partly, "Hybrid"), (ht.Hierarchical(groups=1), "Hogwild")):
        alone = _train(problem, strategy, X=X, workers=5).settings
        assert alone["groups"] == [{"workers": 1, "cores": None}]
        assert "in place would write the same" in alone["workers_reason"]
        assert parse_strategy(strategy).describe(alone)[0] == f"one group, trained by {name}"


def test_a_run_goes_on_from_its_checkpoint_and_through_a_switch(
    tall: Problem, tmp_path: Path
) -> None:
    def interrupt(record: ht.EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    strategy = ht.Switch(("sync", 1), (ht.Hierarchical(groups=2), None))
    settings: dict[str, Any] = {"epochs": 4, "workers": 4, "checkpoint": tmp_path / "run"}
    with pytest.raises(ht.TrainingInterrupted):
        _train(tall, strategy, callbacks=[interrupt], **settings)
    result = _train(tall, strategy, resume=True, **settings)
    assert [record.trained for record in result.ledger] == [20_000] * 4
    assert result.score(tall.X, tall.labels) > 0.9
    told = result.settings["parts"][1]
    assert told["groups"] == [{"workers": 2, "cores": None}] * 2
    result.save(tmp_path / "model.npz")
    assert ht.load(tmp_path / "model.npz").settings["parts"] == result.settings["parts"]


def test_compare_takes_it_beside_others(problem: Problem) -> None:
    comparison = ht.compare(
        ht.Linear(),
        (problem.X, problem.labels),
        strategies=["hybrid", ht.Hierarchical(groups=2)],
        workers=4,
        epochs=2,
        progress=False,
    )
    assert "hierarchical(groups=2)" in [run.name for run in comparison.runs]
    assert "hierarchical" not in default_strategies()  # on one node it is its inner strategy


# ---- cores


def test_workers_of_given_cores_run_on_these_alone(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = usable_core_numbers()
    first, last = {cores[0]}, set(cores[1:]) or {cores[0]}
    seen: dict[int, set[int]] = {}
    really = Stream.work

    def look(run: Any, worker: int) -> None:
        seen[worker] = os.sched_getaffinity(0)
        really(run, worker)

    class Watched(Stream):
        work = look

    monkeypatch.setattr("hybridtrain.plan.stream.Stream", Watched)
    groups = [first, last] if len(cores) > 1 else [first]
    _train(problem, ht.Hierarchical(groups=groups), workers=len(cores))
    assert seen[0] == first
    assert seen[len(cores) - 1] == groups[-1]
    assert os.sched_getaffinity(0) == set(cores)
    assert all(thread.name != "hybridtrain-0" for thread in threading.enumerate())


def test_workers_are_divided_as_their_groups_have_cores() -> None:
    assert _split(6, [2, 4]) == [2, 4]
    assert _split(5, [1, 1]) == [2, 3]
    assert _split(3, [1, 1, 8]) == [1, 1, 1]
    assert _split(17, [3, 1, 7]) == [5, 1, 11]  # of 4.6, 1.5 and 10.8
    assert _split(4, [9, 1, 1]) == [2, 1, 1]
    for weights in ([3, 1], [7, 1], [12, 4], [4, 2], [1, 2, 5], [6]):
        assert _split(sum(weights), weights) == weights


def test_nodes_are_read_from_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hybridtrain.machine.usable_core_numbers", lambda: (0, 1, 2, 5, 8))
    for node, text in (("node0", "0-2\n"), ("node1", "4-5,8\n"), ("node2", "\n"), ("node3", "9\n")):
        (tmp_path / node).mkdir()
        (tmp_path / node / "cpulist").write_text(text)
    assert numa_nodes(str(tmp_path)) == ((0, 1, 2), (5, 8))
    (tmp_path / "node1" / "cpulist").write_text("nonsense")
    assert numa_nodes(str(tmp_path)) == ((0, 1, 2, 5, 8),)
    assert numa_nodes(str(tmp_path / "nothing")) == ((0, 1, 2, 5, 8),)


def test_auto_is_a_group_for_each_node(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    one = _train(problem, "hierarchical").settings
    if len(numa_nodes()) == 1:
        assert one["groups"] == [{"workers": 2, "cores": None}]
        assert "one NUMA node" in one["groups_reason"]
    core = usable_core_numbers()[0]
    nodes = ((core,), (usable_core_numbers()[-1],))
    monkeypatch.setattr("hybridtrain.strategies.hierarchical.numa_nodes", lambda: nodes)
    two = _train(problem, "hierarchical").settings
    assert two["groups"] == [{"workers": 1, "cores": list(node)} for node in nodes]
    assert len(_train(problem, "hierarchical", workers=1).settings["groups"]) == 1


# ---- words and refusals


def test_its_words_and_its_repr_are_read_back() -> None:
    for text in (
        "hierarchical",
        "hierarchical(groups=2)",
        "hierarchical(groups=((0, 1), (2, 3)))",
        "hierarchical(within='hogwild(exact=True)', between='local_sgd(every=4)', groups=1)",
        "hierarchical(between='async(every=32, staleness=2)', groups=3)",
    ):
        strategy = parse_strategy(text)
        assert strategy_name(strategy) == text
        assert eval(repr(strategy), {name: getattr(ht, name) for name in ht.__all__}) == strategy
        assert hash(strategy) == hash(parse_strategy(text))
    listed = ht.Hierarchical(groups=[{3, 2}, [0]])
    assert listed.groups == ((2, 3), (0,))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"within": "sync", "between": "async"}, "within must let workers step on one replica"),
        ({"within": "hogwild(exact=True)"}, 'by plain loads .*True.* go with within="hogwild"'),
        ({"between": "local_sgd"}, "between must exchange a replica for each group"),
        ({"between": "hogwild"}, "one group goes with any strategy"),
        ({"within": "hierarchical"}, "must be a strategy that trains by itself"),
        ({"between": ht.Switch(("sync", 1), ("hybrid", None))}, "between of Hierarchical must be"),
        ({"within": "hogwold"}, "did you mean"),
        ({"between": "hybrid(hot=0)"}, "has none: no feature is hot"),
        ({"groups": 3}, r"number of workers \(2\), got 3; set workers=3 or more, or fewer groups"),
        ({"within": 3}, r"within of Hierarchical: strategy must be .* got 3"),
        ({"between": None}, r"between of Hierarchical: strategy must be .* got None"),
        ({"groups": [{0}, {4095}]}, r"cores that this process may use .* got \[4095\]"),
    ],
)
def test_what_does_not_compose_is_refused_with_what_does(
    settings: dict[str, Any], said: str, problem: Problem
) -> None:
    with pytest.raises(ht.InvalidSettingError, match=said):
        _train(problem, ht.Hierarchical(**{"groups": 2, **settings}))


@pytest.mark.parametrize(
    "groups", [0, -1, 1.5, True, None, "many", [], [[]], [{0}, {0}], [0, 1], [{-1}]]
)
def test_what_are_no_groups_is_refused(groups: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="group"):
        ht.Hierarchical(groups=groups)


def test_dense_steps_are_refused_on_sparse_rows(problem: Problem) -> None:
    with pytest.raises(ht.InvalidSettingError, match="Hogwild steps in place"):
        _train(problem, "hierarchical(groups=2)", optimizer="adam", workers=4)


def test_it_is_described_by_its_groups(tall: Problem) -> None:
    strategy = ht.Hierarchical(groups=2, between="hybrid(hot=40, every=64)")
    settings = _train(tall, strategy, workers=5).settings
    described = parse_strategy(strategy).describe(settings)
    assert described == ["2 groups of 2 + 3 workers", "40 hot features", "exchanges every 64 rows"]
    one = _train(tall, ht.Hierarchical(within="sync", groups=1)).settings
    words = parse_strategy(ht.Hierarchical(within="sync", groups=1)).describe(one)
    assert words[0] == "one group, trained by Sync"
    assert words[1].startswith("batches of")
    alone = _train(tall, "hierarchical", workers=1, epochs=1).settings
    words = parse_strategy("hierarchical").describe(alone)
    assert words[0].startswith("one group (")
    assert words[0].endswith("), trained by Hogwild")
