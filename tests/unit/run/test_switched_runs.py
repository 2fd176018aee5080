# SPDX-License-Identifier: BSD-3-Clause
"""Runs of several strategies: one run, as if its strategies were one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from support.saved_runs import (
    EPOCHS,
    OFTEN,
    check_same,
    in_parts,
    interrupted_after,
    newest_file,
    train_part,
)

import hybridtrain as ht
from hybridtrain.run.checkpoint import newest
from hybridtrain.run.job import Job
from hybridtrain.run.snapshot import Snapshot

OPTIMIZERS = ["sgd(lr=0.1)", "sgd(lr=0.1, average=True)", "adagrad", "ftrl"]
DENSE = ["adam(lr=0.01)", "rmsprop(lr=0.01)", "sgd(lr=0.01, momentum=0.9)"]
SYNC_THEN_HYBRID = ht.Switch(("sync", 2), ("hybrid(hot=4)", None))


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hybridtrain.run.job._GLANCE_SECONDS", 1e-4)


def _dense(problem: Problem) -> Problem:
    return replace(problem, X=problem.X.toarray())


def _check_losses(result: ht.Result, whole: ht.Result) -> None:
    check_same(result, whole)
    assert [r.loss for r in result.history] == [r.loss for r in whole.history]


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *DENSE])
@pytest.mark.parametrize("word", ["sync", "sync(exact=False)", "local_sgd(every=2, replicas=3)"])
def test_parts_of_one_synchronous_strategy_are_that_strategy(
    word: str, optimizer: str, problem: Problem
) -> None:
    settings = {"optimizer": optimizer, "batch_size": 48, "workers": 2}
    whole = train_part(problem, strategy=word, **settings)
    for parts in ([(word, EPOCHS)], [(word, 2), (word, 1), (word, None)]):
        _check_losses(train_part(problem, strategy=ht.Switch(*parts), **settings), whole)


@pytest.mark.parametrize(
    ("word", "optimizer"),
    [
        *product(["hybrid", "hybrid(every=16)", "hybrid(hot=4)", "hogwild"], OPTIMIZERS),
        *product(["hybrid", "hybrid(every=16)"], DENSE),
    ],
)
def test_parts_of_one_stream_are_that_strategy(word: str, optimizer: str, problem: Problem) -> None:
    problem = _dense(problem) if optimizer in DENSE else problem
    whole = train_part(problem, strategy=word, optimizer=optimizer)
    for parts in ([(word, EPOCHS)], [(word, 2), (word, None)]):
        result = train_part(problem, strategy=ht.Switch(*parts), optimizer=optimizer)
        _check_losses(result, whole)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_strategies_of_equal_steps_are_the_same_run(optimizer: str, problem: Problem) -> None:
    """Their plans differ, so that the state is converted: by 1."""
    same = ht.Hybrid(hot=4), ht.Hybrid(hot=4, every=1_000_000)
    settings = {"optimizer": optimizer, "model": ht.Linear()}
    whole = train_part(problem, strategy=same[0], **settings)
    switched = ht.Switch((same[0], 2), (same[1], None))
    _check_losses(train_part(problem, strategy=switched, **settings), whole)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *DENSE])
@pytest.mark.parametrize(
    "strategy",
    [
        ht.Switch(("sync", 2), ("hybrid", None)),
        ht.Switch(("hybrid", 3), ("sync", None)),
        ht.Switch(("sync", 2), (ht.LocalSGD(every="adacomm", replicas=2), None)),
        ht.Switch((ht.LocalSGD(every=2, replicas=3), 2), ("hybrid", None)),
    ],
)
def test_a_run_goes_on_across_a_switch_with_the_same_bits(
    strategy: ht.Switch, optimizer: str, problem: Problem, tmp_path: Path
) -> None:
    """It is interrupted after each epoch: before, just at and after the switch."""
    problem = _dense(problem) if optimizer in DENSE else problem
    settings = {"strategy": strategy, "optimizer": optimizer, "batch_size": 48}
    whole = train_part(problem, **settings)
    check_same(in_parts(problem, tmp_path, *[{}] * 4, **settings), whole)


@pytest.mark.parametrize("outer", ["nesterov(lr=0.9)", "slowmo"])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "sgd(average=True)"])
def test_an_outer_velocity_begins_and_ends_with_its_part(
    optimizer: str, outer: str, problem: Problem, tmp_path: Path
) -> None:
    local = ht.LocalSGD(every=2, replicas=2, outer=outer)
    strategy = ht.Switch(("sync", 1), (local, 3), ("sync", None))
    settings = {"strategy": strategy, "optimizer": optimizer, "batch_size": 16}
    whole = train_part(problem, **settings)
    check_same(in_parts(problem, tmp_path, *[{"workers": 2}] * 4, **settings), whole)


@pytest.mark.parametrize(
    "strategy", [SYNC_THEN_HYBRID, ht.Switch(("hybrid(hot=4)", 2), ("sync", None))]
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_goes_on_from_the_state_that_a_switch_has_made(
    optimizer: str,
    strategy: ht.Switch,
    problem: Problem,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process is lost after the switch, before the first row of the next part."""
    settings = {"strategy": strategy, "optimizer": optimizer, "batch_size": 48}
    saved: list[bytes] = []
    keep = Job._keep

    def keep_and_copy(job: Job, *args: Any, **more: Any) -> None:
        keep(job, *args, **more)
        assert job.saving.keeper is not None
        job.saving.keeper._await()
        saved.append(newest_file(tmp_path / "run").read_bytes())

    monkeypatch.setattr(Job, "_keep", keep_and_copy)
    folder = ht.Checkpoint(tmp_path / "run", every_seconds=OFTEN)
    whole = train_part(problem, checkpoint=folder, **settings)
    monkeypatch.undo()
    n_resumed = 0
    for content in saved:
        path = tmp_path / "one"
        path.write_bytes(content)
        _, state = newest(path)
        if state.job["parts"][1]["first"] == 3 and state.numbers["epoch"] == 2:
            check_same(train_part(problem, resume=path, **settings), whole)
            n_resumed += 1
    assert n_resumed == 1


@pytest.mark.parametrize("word", ["sync", "hybrid", "hybrid(hot=4)"])
@pytest.mark.parametrize("optimizer", ["sgd(average=True)", "ftrl"])
def test_parts_of_one_strategy_go_on_with_its_bits(
    word: str, optimizer: str, problem: Problem, tmp_path: Path
) -> None:
    """Also at automatic rates: equal strategies share a plan in the run that goes on as well."""
    settings = {"optimizer": optimizer}
    whole = train_part(problem, strategy=word, **settings)
    switched = ht.Switch((word, 2), (word, None))
    check_same(in_parts(problem, tmp_path, *[{}] * 3, strategy=switched, **settings), whole)


def test_a_renumbered_part_goes_on_and_keeps_automatic_rates(
    problem: Problem, tmp_path: Path
) -> None:
    settings = {"strategy": SYNC_THEN_HYBRID, "optimizer": "sgd", "validation": 0.3, "patience": 9}
    whole = train_part(problem, **settings)
    result = in_parts(problem, tmp_path, *[{}] * 3, **settings)
    check_same(result, whole)
    rates = [[part["lr"] for part in each.settings["parts"]] for each in (result, whole)]
    assert rates[0] == rates[1]


def test_another_schedule_is_another_run(problem: Problem, tmp_path: Path) -> None:
    with pytest.raises(ht.TrainingInterrupted):
        train_part(
            problem,
            strategy=SYNC_THEN_HYBRID,
            checkpoint=tmp_path,
            callbacks=[interrupted_after(1)],
        )
    other = ht.Switch(("sync", 3), ("hybrid(hot=4)", None))
    with pytest.raises(ht.CheckpointError, match="strategy: Switch"):
        train_part(problem, strategy=other, checkpoint=tmp_path, resume=True)


def test_each_part_has_its_own_rate_and_the_schedule_goes_on(problem: Problem) -> None:
    result = train_part(problem, strategy=SYNC_THEN_HYBRID, optimizer="sgd", workers=2)
    sync, hybrid = result.settings["parts"]
    for part, word in ((sync, "sync"), (hybrid, "hybrid(hot=4)")):
        alone = train_part(problem, strategy=word, optimizer="sgd", workers=2)
        assert part["lr"] == alone.settings["lr"]
        assert part["lr_trials"]["factor"] == alone.settings["lr_trials"]["factor"]
        assert part["batch_size"] == alone.settings["batch_size"]
        assert part["strategy"] == alone.settings["strategy"]
    assert sync["lr"] != hybrid["lr"]
    shares = [1.0 - epoch / EPOCHS for epoch in range(EPOCHS)]
    lrs = [part["lr"] for part in (sync, sync, *[hybrid] * 4)]
    expected = [lr * share for lr, share in zip(lrs, shares, strict=True)]
    assert [record.lr for record in result.history] == pytest.approx(expected)
    assert [part["epochs"] for part in (sync, hybrid)] == [[1, 2], [3, EPOCHS]]
    assert result.settings["lr"] == hybrid["lr"]


def test_a_result_tells_of_all_parts(problem: Problem, tmp_path: Path) -> None:
    result = train_part(problem, strategy=SYNC_THEN_HYBRID, workers=2)
    n_rows = problem.X.shape[0]
    assert [r.trained for r in result.ledger] == [n_rows] * EPOCHS
    assert sum(worker.rows for worker in result.workers) == n_rows * EPOCHS
    assert result.staleness.source == "exchange"
    sync, hybrid = result.settings["parts"]
    assert (sync["refused_steps"], sync["switch_seconds"]) == (0, None)
    assert hybrid["switch_seconds"] > 0
    assert len(hybrid["every"]) == 2
    result.save(tmp_path / "model.npz")
    loaded = ht.load(tmp_path / "model.npz")
    assert loaded.settings == result.settings
    assert loaded.settings["strategy"] == repr(ht.Switch((ht.Sync(), 2), (ht.Hybrid(hot=4), None)))
    assert "parts" not in train_part(problem, strategy="sync").settings


def test_a_plateau_ends_a_part(problem: Problem) -> None:
    """The rate is so small that the loss falls by less than a thousandth."""
    strategy = ht.Switch(("sync", "plateau"), ("hybrid", "plateau"), ("hogwild", None))
    slow = train_part(problem, strategy=strategy, optimizer="sgd(lr=1e-7)")
    assert [part["epochs"] for part in slow.settings["parts"]] == [[1, 2], [3, 4], [5, 6]]
    fast = train_part(problem, strategy=strategy, optimizer="sgd(lr=0.05)", batch_size=16)
    losses = [record.loss for record in fast.history]
    assert all(b < 0.999 * a for a, b in pairwise(losses))
    assert [part["epochs"] for part in fast.settings["parts"]] == [[1, EPOCHS]]


def test_a_plateau_is_found_again_after_a_checkpoint(problem: Problem, tmp_path: Path) -> None:
    strategy = ht.Switch(("sync", "plateau"), ("hybrid", None))
    settings = {"strategy": strategy, "optimizer": "sgd(lr=1e-7)"}
    whole = train_part(problem, **settings)
    check_same(in_parts(problem, tmp_path, *[{}] * 3, **settings), whole)


def test_the_best_epoch_of_an_earlier_part_is_kept(problem: Problem) -> None:
    """Its parameters are those of a run with another order of features."""
    result = train_part(
        problem,
        strategy=ht.Switch(("sync", 2), ("hybrid(hot=4)", None)),
        model=ht.Linear(),
        validation=(problem.X, ~problem.labels),  # what is learned is wrong there
        patience=9,
    )
    assert result.settings["best_epoch"] == 1
    margins = result.decision_function(problem.X) * np.where(problem.labels, -1, 1)
    loss = np.logaddexp(0.0, -margins.astype(np.float64)).mean()
    assert loss == pytest.approx(result.history[0].validation_loss, rel=1e-5)


def test_patience_ends_the_run_in_any_part(problem: Problem) -> None:
    result = train_part(
        problem,
        strategy=ht.Switch(("sync", 4), ("hybrid", None)),
        optimizer="sgd(lr=20.0, schedule='constant')",
        validation=0.3,
        patience=1,
        epochs=60,
    )
    assert result.settings["stopped"] == "patience"
    lrs = [record.lr for record in result.history]
    assert lrs[-1] < 0.2 * lrs[0]  # it fell, over both parts
    assert [part["epochs"][0] for part in result.settings["parts"]] == [1, 5]


def test_seconds_are_those_of_the_run(problem: Problem) -> None:
    """All epochs fit, so that the rates and the bits are those of a run without a limit."""
    settings = {"strategy": SYNC_THEN_HYBRID, "workers": 1}
    whole = train_part(problem, **settings)
    check_same(train_part(problem, seconds=100, **settings), whole)


def test_ctrl_c_in_any_part_gives_what_was_trained(problem: Problem) -> None:
    for epoch in (1, 2, 3):
        with pytest.raises(ht.TrainingInterrupted) as caught:
            train_part(problem, strategy=SYNC_THEN_HYBRID, callbacks=[interrupted_after(epoch)])
        parts = caught.value.result.settings["parts"]
        expected = [[1, 2], [3, 3]] if epoch == 3 else [[1, epoch]]
        assert [part["epochs"] for part in parts] == expected


def test_a_part_that_cannot_be_trained_is_refused_before_any_is(problem: Problem) -> None:
    begun: list[Any] = []
    for strategy, optimizer, expected in (
        (ht.Switch(("sync", 2), ("hogwild", None)), "adam", "Hogwild steps in place"),
        (ht.Switch(("sync", 2), ("hybrid", None)), "sgd(momentum=0.9)", "a step of Hybrid on a"),
    ):
        with pytest.raises(ht.InvalidSettingError, match=expected):
            train_part(problem, strategy=strategy, optimizer=optimizer, callbacks=[begun.append])
    assert begun == []


def test_a_state_that_is_not_finite_ends_the_run(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*args: Any) -> None:
        return None

    def infinite(saved: Snapshot, *args: Any) -> Snapshot:
        return replace(saved, arrays=np.full_like(saved.arrays, np.inf))

    for name, function in (("carried", infinite), ("take", lost)):
        monkeypatch.setattr(f"hybridtrain.run.stage.{name}", function)
        with pytest.raises(ht.DivergedError) as caught:
            train_part(problem, strategy=SYNC_THEN_HYBRID)
        assert len(caught.value.result.history) == 2


def test_no_memory_for_the_next_part_leaves_nothing_behind(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixtures of all tests look for workers that are left."""
    monkeypatch.setattr("hybridtrain.plan.stream.available_memory", lambda: 1)
    with pytest.raises(ht.OutOfMemoryError):
        train_part(problem, strategy=SYNC_THEN_HYBRID, workers=2)


def test_compare_runs_it_among_others(problem: Problem) -> None:
    comparison = ht.compare(
        ht.Linear(),
        (problem.X, problem.labels),
        strategies=["sync", ht.Switch(("sync", 1), ("hybrid(hot=4)", None))],
        workers=1,
        epochs=3,
        optimizer="sgd(lr=0.1)",
        repeats=1,
    )
    switched = next(run for run in comparison.runs if run.name.startswith("switch"))
    assert switched.name == "switch(('sync', 1), ('hybrid(hot=4)', None))"
    assert switched.strategy.describe(switched.result.settings) == [
        "epoch 1 Sync (batches of 11 rows)",
        "epochs 2 to 3 Hybrid (4 hot features)",
    ]


def test_its_word_trains_the_same(problem: Problem) -> None:
    word = 'switch(("sync", 2), ("hybrid(hot=4)", None))'
    check_same(train_part(problem, strategy=word), train_part(problem, strategy=SYNC_THEN_HYBRID))
