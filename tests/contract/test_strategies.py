# SPDX-License-Identifier: BSD-3-Clause
"""What every strategy promises; each one in the table of names runs the whole battery."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted

import hybridtrain as ht
from hybridtrain._core.rows import isas
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.plan import problem as learning
from hybridtrain.plan.base import Settings
from hybridtrain.sklearn import LinearClassifier
from hybridtrain.strategies.base import Strategy
from hybridtrain.strategies.parse import STRATEGIES, parse_strategy, strategy_name

N_ROWS, EPOCHS = 400, 3  # of the fixture `problem`
WORKERS = (1, 2, 3)


def _variants(kind: type[Strategy]) -> list[Strategy]:
    """Return a strategy with its defaults, and once with each switch turned."""
    made = kind()
    switches = [f.name for f in dataclasses.fields(kind) if isinstance(f.default, bool)]
    return [made, *(kind(**{name: not getattr(made, name)}) for name in switches)]


ALL = [strategy for kind in STRATEGIES.values() for strategy in _variants(kind)]
ALL.append(ht.LocalSGD(replicas=3, outer="slowmo"))  # promises more than its defaults
every_strategy = pytest.mark.parametrize("strategy", ALL, ids=strategy_name)
any_workers = pytest.mark.parametrize("workers", WORKERS)


@pytest.fixture(scope="module")
def tall() -> Problem:
    """Rows enough that every worker trains some, and that the order of updates shows."""
    return planted(1, 3000, 60, longest=30)


def _train(problem: Problem, strategy: str | Strategy, **settings: Any) -> ht.Result:
    settings = {"workers": 1, "epochs": EPOCHS, "progress": False, **settings}
    return ht.train(ht.Linear(), (problem.X, problem.labels), strategy=strategy, **settings)


def _bits(result: ht.Result) -> str:
    coef = result.params["coef"]
    assert np.any(coef)
    return hashlib.sha256(coef.tobytes() + repr(result.history[-1].loss).encode()).hexdigest()


# ---- constants and their words


@every_strategy
def test_it_cannot_be_changed_and_takes_only_keywords(strategy: Any) -> None:
    fields = dataclasses.fields(strategy)
    assert 1 <= len(fields) <= 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(strategy, fields[0].name, fields[0].default)
    with pytest.raises(TypeError):
        type(strategy)(fields[0].default)
    assert not hasattr(strategy, "__dict__")
    assert strategy == copy.copy(strategy)
    assert hash(strategy) == hash(copy.copy(strategy))


@every_strategy
def test_its_name_is_read_back(strategy: Strategy) -> None:
    name = strategy_name(strategy)
    assert STRATEGIES[name.partition("(")[0]] is type(strategy)
    assert parse_strategy(name) == parse_strategy(f" {name} ") == strategy
    assert parse_strategy(strategy) is strategy


@every_strategy
def test_its_repr_is_a_call_of_what_the_package_exports(strategy: Strategy) -> None:
    assert eval(repr(strategy), {name: getattr(ht, name) for name in ht.__all__}) == strategy
    assert type(strategy).__name__ in ht.__all__


@pytest.mark.parametrize("name", STRATEGIES)
def test_its_word_alone_is_its_defaults(name: str) -> None:
    assert parse_strategy(name) == parse_strategy(f"{name}()") == STRATEGIES[name]()
    assert strategy_name(STRATEGIES[name]()) == name


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_unknown_argument_is_refused_with_those_that_it_has(name: str) -> None:
    keys = ", ".join(field.name for field in dataclasses.fields(STRATEGIES[name]))
    with pytest.raises(ht.InvalidSettingError) as caught:
        parse_strategy(f"{name}(unheard_of=1)")
    assert f"{name} has no 'unheard_of', it has {keys}" in str(caught.value)


@every_strategy
def test_a_switch_is_a_bool(strategy: Any) -> None:
    for field in dataclasses.fields(strategy):
        if isinstance(field.default, bool):
            for value in (1, 0, None, "yes"):
                expected = f"{field.name} must be True or False, got {value!r}"
                with pytest.raises(ht.InvalidSettingError, match=expected):
                    dataclasses.replace(strategy, **{field.name: value})


@every_strategy
def test_word_and_object_train_the_same_bits(strategy: Strategy, problem: Problem) -> None:
    written, made = (_train(problem, s) for s in (strategy_name(strategy), strategy))
    assert _bits(written) == _bits(made)
    assert written.settings["strategy"] == made.settings["strategy"] == repr(strategy)


# ---- what it promises of bits


@every_strategy
def test_one_worker_always_has_the_same_bits(strategy: Strategy) -> None:
    assert strategy.same_bits(1)


@any_workers
@every_strategy
def test_the_same_bits_are_kept_where_they_are_promised(
    strategy: Strategy, workers: int, tall: Problem
) -> None:
    repeats = 4 if strategy.same_bits(workers) else 1
    bits = {_bits(_train(tall, strategy, workers=workers)) for _ in range(repeats)}
    if strategy.same_bits_for_any_workers:
        assert strategy.same_bits(workers)
        bits.add(_bits(_train(tall, strategy, workers=1)))
    assert len(bits) == 1


@any_workers
@every_strategy
def test_an_estimator_promises_the_same_bits(strategy: Strategy, workers: int) -> None:
    for given in (strategy, strategy_name(strategy)):
        tags = LinearClassifier(strategy=given, workers=workers).__sklearn_tags__()
        assert tags.non_deterministic is not strategy.same_bits(workers)


# ---- what it takes


@every_strategy
def test_a_batch_size_is_taken_or_refused_as_it_says(strategy: Strategy, problem: Problem) -> None:
    for size in (None, 1):
        _train(problem, strategy, batch_size=size, epochs=1)
    if strategy.takes_batch_size:
        for size in (8, np.int64(40)):
            assert _train(problem, strategy, batch_size=size).settings["batch_size"] == size
        with pytest.raises(ht.InvalidSettingError, match="batch_size must be at least 1 and at mo"):
            _train(problem, strategy, batch_size=N_ROWS + 1)
    else:
        assert _train(problem, strategy).settings["batch_size"] == 1
        kind = type(strategy).__name__
        with pytest.raises(ht.InvalidSettingError) as caught:
            _train(problem, strategy, batch_size=8)
        assert str(caught.value) == (
            f"batch_size must be 1 (or None) with {kind}, which steps on one row at a time, got 8"
        )


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "many"])
@every_strategy
def test_what_is_no_batch_size_is_refused(
    strategy: Strategy, batch_size: Any, problem: Problem
) -> None:
    with pytest.raises(ht.InvalidSettingError, match="batch_size must be"):
        _train(problem, strategy, batch_size=batch_size)


@pytest.mark.parametrize("workers", [4, 1000])
@every_strategy
def test_more_workers_than_rows_are_refused(strategy: Strategy, workers: int) -> None:
    with pytest.raises(ht.InvalidSettingError) as caught:
        _train(planted(0, 3, 5, longest=4), strategy, workers=workers)
    assert str(caught.value) == (
        f"workers must be at most the number of rows (3) and 1024, got {workers}"
    )


@every_strategy
def test_as_many_workers_as_rows_are_fine(strategy: Strategy) -> None:
    result = _train(planted(0, 3, 5, longest=4), strategy, workers=3)
    assert len(result.workers) == 3
    assert [record.trained for record in result.ledger] == [3] * EPOCHS


# ---- what its plans and runs keep


@any_workers
@every_strategy
def test_a_plan_never_changes(strategy: Strategy, workers: int, problem: Problem) -> None:
    targets = np.where(problem.labels, 1, -1).astype(np.float32)
    matrix = canonical_rows(problem.X, threads=1)
    learned = learning.Problem(ht.Linear(), matrix, targets, None, np.array([0, 1]))
    settings = Settings(optimizer=ht.SGD(), workers=workers, epochs=EPOCHS, seed=0, isa=isas()[-1])
    plan: Any = strategy.plan(learned, settings)
    before = copy.deepcopy(plan.choices)
    run = plan.open()
    report = plan.report(run, "finished")
    run.close()
    assert plan.choices == before
    assert {"lr", "batch_size", "workers", "workers_reason", "isa"} <= plan.choices.keys()
    assert not report.measurements.keys() & plan.choices.keys()
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.workers = 1


@any_workers
@every_strategy
def test_ledger_and_workers_count_every_row(
    strategy: Strategy, workers: int, problem: Problem
) -> None:
    result = _train(problem, strategy, workers=workers)
    assert [(r.trained, r.dropped, r.reason) for r in result.ledger] == [(N_ROWS, 0, "")] * EPOCHS
    assert sum(worker.rows for worker in result.workers) == EPOCHS * N_ROWS
    assert {worker.ended for worker in result.workers} == {"finished"}


@any_workers
@every_strategy
def test_rows_of_a_diverged_run_add_up(strategy: Strategy, workers: int, problem: Problem) -> None:
    with pytest.raises(ht.DivergedError) as caught:
        ht.train(
            ht.Linear(),
            (problem.X.toarray(), np.roll(problem.labels, 1)),  # nothing tells them apart
            strategy=strategy,
            optimizer=ht.SGD(lr=1e38, schedule="constant"),
            workers=workers,
            epochs=20,
            progress=False,
        )
    result = caught.value.result
    assert all(record.trained + record.dropped == N_ROWS for record in result.ledger)
    assert sum(w.rows for w in result.workers) == sum(e.trained for e in result.ledger)
    assert np.isfinite(result.params["coef"]).all()


@every_strategy
def test_rows_of_a_run_that_its_time_ends_add_up(strategy: Strategy, problem: Problem) -> None:
    result = _train(problem, strategy, workers=3, epochs=10**6, seconds=0.2)
    assert result.settings["stopped"] == "seconds"
    assert sum(w.rows for w in result.workers) == sum(e.trained for e in result.ledger)


@any_workers
@every_strategy
def test_settings_can_be_written_as_json_and_told(
    strategy: Strategy, workers: int, problem: Problem
) -> None:
    settings = _train(problem, strategy, workers=workers, validation=0.25).settings
    assert json.loads(json.dumps(settings, allow_nan=False)) == settings
    assert all(words and "\n" not in words for words in strategy.describe(settings))


@any_workers
@every_strategy
def test_it_learns(strategy: Strategy, workers: int, problem: Problem) -> None:
    result = _train(problem, strategy, workers=workers, epochs=20)
    assert result.score(problem.X, problem.labels) > 0.9
