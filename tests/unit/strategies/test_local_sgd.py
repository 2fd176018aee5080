# SPDX-License-Identifier: BSD-3-Clause
"""LocalSGD: bits that depend on the replicas alone, what a step holds, and what is refused."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted
from support.saved_runs import check_same, in_parts, train_part

import hybridtrain as ht
from hybridtrain._core.rows import isas
from hybridtrain._core.sync import MAX_TASKS
from hybridtrain.plan.local import staleness_of_replicas
from hybridtrain.strategies.local_sgd import with_replicas
from hybridtrain.strategies.parse import parse_strategy, strategy_name

WORKERS = (1, 2, 3, 4, 8)
FOUR = ht.LocalSGD(replicas=4, every=3)
OPTIMIZERS = ["sgd(lr=0.5)", "adagrad(lr=0.1)", "ftrl(lr=0.2)", "adam(lr=0.01)"]


def _digest(result: ht.Result) -> str:
    coef = np.asarray(result.params["coef"])
    assert np.any(coef)
    losses = [record.loss for record in result.history]
    intercept = np.asarray(result.params["intercept"])
    return hashlib.sha256(coef.tobytes() + repr((intercept, losses)).encode()).hexdigest()


def _train(problem: Problem, **settings: Any) -> ht.Result:
    """Train logistic regression for three epochs; the usual strategy is FOUR."""
    y = settings.pop("y", problem.labels)
    model = settings.pop("model", ht.Linear(l2=1e-3))
    usual: dict[str, Any] = {"strategy": FOUR, "epochs": 3, "progress": False, "batch_size": 8}
    return ht.train(model, (problem.X, y), **{**usual, **settings})


def _sparse(problem: Problem) -> dict[str, Any]:
    del problem
    return {}


def _dense(problem: Problem) -> dict[str, Any]:
    return {
        "problem": Problem(problem.X.toarray(), *(problem.coef, problem.labels, problem.values))
    }


def _classes(problem: Problem) -> dict[str, Any]:
    ends = np.quantile(problem.values, [0.3, 0.7])
    y = np.digitize(problem.values, ends)
    return {"y": y, "model": ht.Linear(loss="softmax", l2=1e-3)}


# ---- bits


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", [_sparse, _dense, _classes])
def test_bits_depend_on_the_number_of_replicas_alone(
    make: Callable[[Problem], dict[str, Any]], optimizer: str, problem: Problem
) -> None:
    settings: dict[str, Any] = {"problem": problem, **make(problem), "optimizer": optimizer}
    digests = {_digest(_train(**settings, workers=workers)) for workers in WORKERS}
    digests.add(_digest(_train(**settings, workers=3, backend="processes")))
    assert len(digests) == 1
    other = _train(**settings, workers=1, strategy=ht.LocalSGD(replicas=3, every=3))
    assert _digest(other) not in digests


def test_processes_and_instruction_sets_have_the_bits_of_threads(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {
        _digest(_train(problem, workers=workers, backend="processes")) for workers in WORKERS
    }
    for isa in isas():
        monkeypatch.setenv("HYBRIDTRAIN_ISA", isa)
        digests.add(_digest(_train(problem, workers=2)))
    assert len(digests) == 1


@pytest.mark.parametrize("outer", ["nesterov", "slowmo(momentum=0.3)"])
def test_outer_optimizers_keep_the_bits_and_change_the_run(outer: str, problem: Problem) -> None:
    strategy = ht.LocalSGD(replicas=4, every=3, outer=outer)
    digests = {_digest(_train(problem, strategy=strategy, workers=workers)) for workers in (1, 3)}
    assert len(digests) == 1
    assert _digest(_train(problem, workers=1)) not in digests


@pytest.mark.parametrize(
    "optimizer",
    [*OPTIMIZERS, "sgd(lr=0.5, average=True)", "sgd(lr=0.1, momentum=0.9)", "rmsprop(lr=0.01)"],
)
def test_one_replica_that_merges_each_step_is_sync(optimizer: str) -> None:
    rows = planted(0, 3000, 200, longest=40)
    problem = Problem(rows.X.toarray(), rows.coef, rows.labels, rows.values)
    settings: dict[str, Any] = {"optimizer": optimizer, "workers": 1, "batch_size": 512}
    plain = _train(problem, strategy="sync(exact=False)", **settings)
    local = _train(problem, strategy="local_sgd(every=1)", **settings)
    assert local.settings["task_rows"] == plain.settings["task_rows"]
    assert local.settings["replicas"] == 1
    assert _digest(local) == _digest(plain)


def test_replicas_are_as_many_as_workers_unless_they_are_given(problem: Problem) -> None:
    for workers in (1, 3):
        result = _train(problem, strategy="local_sgd", workers=workers)
        assert result.settings["replicas"] == workers
    assert not ht.LocalSGD().same_bits_for_any_workers
    assert FOUR.same_bits_for_any_workers
    assert with_replicas(ht.LocalSGD(every=3), 4) == FOUR == with_replicas(FOUR, 5)
    assert with_replicas(ht.Sync(), 4) == ht.Sync()


def test_nodes_train_together_unless_a_clock_decides() -> None:
    for every in (None, 3, "adacomm", ht.QSR()):
        assert ht.LocalSGD(every=every).spans_nodes
    assert not ht.LocalSGD(every="auto").spans_nodes


# ---- what a step holds


@pytest.mark.parametrize(("n_rows", "replicas", "batch_size"), [(3000, 2, 8), (40_000, 4, None)])
def test_an_epoch_has_32_merges_or_more_unless_every_is_given(
    n_rows: int, replicas: int, batch_size: int | None
) -> None:
    problem = planted(1, n_rows, 20, longest=5)
    result = _train(problem, strategy=ht.LocalSGD(replicas=replicas), batch_size=batch_size)
    settings = result.settings
    (every,) = set(settings["every"])
    of_round = settings["replicas"] * every * settings["batch_size"]
    assert 1 < every <= 64
    assert n_rows // of_round >= 32
    assert n_rows // (of_round // every * (every + 1)) < 32 or (every == 64)


def test_every_is_that_of_an_epoch_where_rows_are_fewer_than_a_round(problem: Problem) -> None:
    """400 rows: 4 replicas of 100, which make 13 steps of at most 8 rows."""
    result = _train(problem, strategy=ht.LocalSGD(replicas=4, every=10**6))
    assert set(result.settings["every"]) == {13}
    assert result.staleness.max == 300
    exact = _train(problem, strategy=ht.LocalSGD(replicas=4, every=13))
    assert _digest(result) == _digest(exact)
    assert [record.trained for record in result.ledger] == [400] * 3


@pytest.mark.parametrize("n_rows", [1, 2, 5, 11])
def test_few_rows_have_as_many_replicas(n_rows: int) -> None:
    problem = planted(2, n_rows, 5, longest=4)
    settings: dict[str, Any] = {
        "model": ht.Linear(loss="squared"),
        "y": problem.values,
        "batch_size": 1,
        "strategy": ht.LocalSGD(replicas=n_rows, every=2),
    }
    results = [_train(problem, **settings, workers=w) for w in {1, min(2, n_rows)}]
    assert len({result.params["coef"].tobytes() for result in results}) == 1
    assert [record.trained for record in results[0].ledger] == [n_rows] * 3
    assert results[0].staleness.max == n_rows - 1


def _counted(n_rows: int, strip_rows: int, batch_strips: int, replicas: int) -> Counter[int]:
    """Count the staleness of each replica of an epoch, row by row."""
    strips = [range(s, min(s + strip_rows, n_rows)) for s in range(0, n_rows, strip_rows)]
    values: Counter[int] = Counter()
    for first in range(0, len(strips), batch_strips):
        batch = strips[first : first + batch_strips]
        n = min(replicas, len(batch))
        shares = [
            [len(strip) for k, strip in enumerate(batch) if _owner(k, len(batch), n) == r]
            for r in range(n)
        ]
        values.update(sum(map(len, batch)) - sum(share) for share in shares)
    return values


def _owner(strip: int, n_strips: int, n: int) -> int:
    return next(r for r in range(n) if strip < n_strips * (r + 1) // n)


@pytest.mark.parametrize("replicas", [1, 2, 5])
@pytest.mark.parametrize("shape", [(400, 4, 10), (401, 4, 10), (37, 8, 5), (9, 1, 9), (64, 64, 1)])
def test_staleness_is_the_rows_of_the_other_replicas(
    shape: tuple[int, int, int], replicas: int
) -> None:
    n_rows, strip_rows, batch_strips = shape
    steps = math.ceil(math.ceil(n_rows / strip_rows) / batch_strips)
    for done in (0, 1, steps, 2 * steps, 3 * steps + min(1, steps - 1)):
        values: Counter[int] = Counter()
        for _ in range(done // steps):
            values += _counted(*shape, replicas)
        if done % steps:  # a part of an epoch: full steps
            rest = min(done % steps * strip_rows * batch_strips, n_rows)
            values += _counted(rest, strip_rows, batch_strips, replicas)
        found = staleness_of_replicas(*shape, replicas, {1: done / steps})
        assert found.max == max(values, default=0)
        assert sum(found.counts) == values.total()
        assert found.mean == pytest.approx(
            sum(v * n for v, n in values.items()) / max(values.total(), 1)
        )


def test_a_run_has_the_staleness_of_its_plan(problem: Problem) -> None:
    """An epoch has 400 rows: 4 merges of 4 replicas of 24 rows, and one of the last 16 rows."""
    result = _train(problem, epochs=2)
    assert result.staleness.max == 72
    assert result.staleness.source == "merge"
    assert _train(problem, strategy=ht.LocalSGD(replicas=1, every=3)).staleness.max == 0


def test_weights_of_rows_are_relative(problem: Problem) -> None:
    weights = np.where(np.arange(400) % 2, 1.5, 0.5)
    results = [
        ht.train(
            ht.Linear(),
            (problem.X, problem.labels, scale * weights),
            strategy=FOUR,
            optimizer="sgd(lr=0.1)",
            workers=workers,
            epochs=3,
        )
        for workers, scale in ((1, 1.0), (2, 1.0), (1, 4.0))
    ]
    assert len({_digest(result) for result in results}) == 1
    plain = _train(problem, model=ht.Linear(), optimizer="sgd(lr=0.1)")
    assert np.abs(results[0].params["coef"] - plain.params["coef"]).max() > 0.01


@pytest.mark.parametrize(
    "optimizer", [*OPTIMIZERS, "sgd(lr=0.05, momentum=0.9)", "rmsprop(lr=0.02)"]
)
@pytest.mark.parametrize("outer", [None, "slowmo"])
def test_it_learns_as_well_as_one_replica(
    optimizer: str, outer: str | None, problem: Problem
) -> None:
    if outer is not None and optimizer.startswith("ftrl"):
        return
    strategy = ht.LocalSGD(replicas=4, every=4, outer=outer)
    result = _train(problem, strategy=strategy, optimizer=optimizer, epochs=20, workers=2)
    assert result.score(problem.X, problem.labels) > 0.9


# ---- a run that goes on


@pytest.mark.parametrize("outer", [None, "nesterov(lr=0.5)", "slowmo"])
@pytest.mark.parametrize("optimizer", ["sgd(average=True)", "adagrad", "adam", "ftrl"])
def test_a_run_goes_on_with_the_same_bits_on_other_workers_and_backends(
    optimizer: str, outer: str | None, problem: Problem, tmp_path: Path
) -> None:
    if outer is not None and optimizer.startswith("ftrl"):
        return
    strategy = ht.LocalSGD(replicas=4, every=3, outer=outer)
    settings: dict[str, Any] = {"strategy": strategy, "optimizer": optimizer, "batch_size": 8}
    whole = train_part(problem, **settings)
    others = {"workers": 2}, {"workers": 3, "backend": "processes"}
    check_same(in_parts(problem, tmp_path, *others, **settings), whole)


# ---- words, and what is refused


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("local_sgd", ht.LocalSGD()),
        (
            "local_sgd(every=4, outer='nesterov(lr=0.5)')",
            ht.LocalSGD(every=4, outer=ht.Nesterov(lr=0.5)),
        ),
        ("local_sgd(outer='slowmo')", ht.LocalSGD(outer=ht.SlowMo())),
        ("local_sgd(replicas=7)", ht.LocalSGD(replicas=7)),
        (
            "local_sgd(outer='slowmo(lr=1e-05, momentum=0.0)')",
            ht.LocalSGD(outer=ht.SlowMo(lr=1e-5, momentum=0)),
        ),
    ],
)
def test_words_are_read_and_written(text: str, strategy: ht.LocalSGD) -> None:
    assert parse_strategy(text) == strategy
    assert parse_strategy(strategy_name(strategy)) == strategy
    assert eval(repr(strategy), {name: getattr(ht, name) for name in ht.__all__}) == strategy


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(({"every": every}, "every must be") for every in (0, -1, 1.5, True, "many", 1 << 32)),
        *(({"replicas": n}, "replicas must be") for n in (0, -1, 1.5, True, "2")),
        ({"outer": "nestrov"}, 'outer must be None or one of nesterov, slowmo, such as "nesterov'),
        ({"outer": "nestrov"}, "did you mean 'nesterov'"),
        ({"outer": ht.SGD()}, "outer must be None or one of nesterov, slowmo"),
        ({"outer": "nesterov(lr=0)"}, "lr must be finite and > 0, got 0"),
        ({"outer": "slowmo(momentum=1)"}, "momentum must be"),
        ({"outer": "slowmo(beta=1)"}, "slowmo has no 'beta', it has lr, momentum"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        ht.LocalSGD(**settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 401}, "batch_size must be at least 1 and at most the number of rows (400)"),
        (
            {"strategy": ht.LocalSGD(replicas=401)},
            "replicas must be at most the number of rows (400)",
        ),
        (
            {"strategy": ht.LocalSGD(outer="nesterov"), "optimizer": "ftrl"},
            "computes its parameters from sums, which an outer step would not change",
        ),
    ],
)
def test_what_does_not_fit_a_run_is_refused(
    settings: dict[str, Any], message: str, problem: Problem
) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        _train(problem, **settings)
    assert message in str(caught.value)


def test_replicas_have_a_limit() -> None:
    problem = planted(3, MAX_TASKS + 2, 4, longest=2)
    with pytest.raises(ht.InvalidSettingError, match=f"and {MAX_TASKS}, got {MAX_TASKS + 1}"):
        _train(problem, strategy=ht.LocalSGD(replicas=MAX_TASKS + 1))


def test_the_loss_of_many_rows_is_not_cut_off(problem: Problem) -> None:
    """The same steps of one replica, whose rows are many tasks or one task."""
    many, one = (
        _train(
            problem,
            model=ht.Linear(loss="hinge"),
            strategy=ht.LocalSGD(replicas=1, every=every),
            optimizer="sgd(lr=0.1)",
            init={"coef": np.full(60, 1e5)},
            workers=1,
        )
        for every in (1, 1000)
    )
    assert many.history[0].loss > 5e4
    for ours, theirs in zip(one.history, many.history, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)


def test_a_diverging_run_keeps_finite_parameters(problem: Problem) -> None:
    with pytest.raises(ht.DivergedError, match="learning rate") as caught:
        _train(
            problem,
            model=ht.Linear(loss="squared"),
            y=problem.values,
            optimizer=ht.AdaGrad(lr=1e30),
            workers=2,
        )
    assert np.isfinite(caught.value.result.params["coef"]).all()
    assert caught.value.result.ledger[-1].reason == "diverged"


def test_epochs_have_their_own_staleness(problem: Problem) -> None:
    result = _train(problem, strategy=ht.LocalSGD(replicas=4, every=3))
    of_epochs = [record.staleness for record in result.history]
    assert all(each is not None and each.max == result.staleness.max for each in of_epochs)
    assert sum(each.total for each in of_epochs if each) == result.staleness.total
