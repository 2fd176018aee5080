# SPDX-License-Identifier: BSD-3-Clause
"""Worker processes that die in each part of a run of several strategies."""

from __future__ import annotations

import os

import pytest
from reference.problems import Problem, planted
from support.processes import workers_of

import hybridtrain as ht
from hybridtrain import chaos

N_ROWS, EPOCHS = 6_000, 4


@pytest.fixture(scope="module")
def large() -> Problem:
    return planted(7, N_ROWS, 200, longest=30)


def _train(problem: Problem, strategy: ht.Switch, *faults: chaos.Kill) -> ht.Result:
    result = ht.train(
        ht.Linear(l2=1e-5),
        (problem.X, problem.labels),
        strategy=strategy,
        optimizer=ht.SGD(lr=0.2),
        backend="processes",
        workers=2,
        epochs=EPOCHS,
        batch_size=64,
        chaos=chaos.Plan(faults),
    )
    assert workers_of(os.getpid()) == []
    return result


# Nobody goes on while a worker is held at these points, so that a kill comes in its step.


def _check_kills(result: ht.Result, epochs: list[int]) -> None:
    """Check that the kills fired, in these epochs, and that no row was lost."""
    assert all(record.fired for record in result.faults)
    assert [record.epoch for record in result.faults] == epochs
    deaths = [cause for worker in result.workers for cause in worker.deaths]
    assert deaths == ["SIGKILL"] * len(epochs)
    assert [record.trained for record in result.ledger] == [N_ROWS] * EPOCHS


def test_a_kill_in_each_synchronous_part_costs_no_bit(large: Problem) -> None:
    """Steps count from the start of a part: the second kill is due in the part of two epochs."""
    strategy = ht.Switch(("sync", 1), ("sync", 2), ("sync", None))
    faults = [chaos.Kill(at="in copying", step=step) for step in (20, 150)]
    killed, whole = _train(large, strategy, *faults), _train(large, strategy)
    _check_kills(killed, [1, 3])
    assert killed.params["coef"].tobytes() == whole.params["coef"].tobytes()
    assert [r.loss for r in killed.history] == [r.loss for r in whole.history]


def test_a_kill_in_the_round_and_in_the_stream_costs_no_row(large: Problem) -> None:
    strategy = ht.Switch(("sync", 2), ("hybrid", None))
    result = _train(
        large, strategy, chaos.Kill(at="in copying", step=5), chaos.Kill(at="chunk claimed")
    )
    _check_kills(result, [1, 3])
    whole = _train(large, strategy)
    assert [r.loss for r in result.history[:2]] == [r.loss for r in whole.history[:2]]
    assert result.history[-1].loss == pytest.approx(whole.history[-1].loss, rel=0.05)


def test_a_point_of_no_part_is_refused_and_one_of_a_later_part_is_not(large: Problem) -> None:
    strategy = ht.Switch(("hogwild", 2), ("sync", None))
    with pytest.raises(ht.InvalidSettingError, match="does not come to exchange_locked"):
        _train(large, strategy, chaos.Kill(at="exchange locked"))
    _check_kills(_train(large, strategy, chaos.Kill(at="in copying")), [3])
