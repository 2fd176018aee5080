# SPDX-License-Identifier: BSD-3-Clause
"""Plans of faults: what they refuse, what threads can rehearse, and when Random strikes."""

from __future__ import annotations

import errno
import itertools
import random
from pathlib import Path
from typing import Any

import pytest
from reference.problems import Problem, planted

import hybridtrain as ht
import hybridtrain.chaos
from hybridtrain import chaos
from hybridtrain._core.point import POINTS
from hybridtrain.run import faults
from hybridtrain.run.chaos import parse_chaos
from hybridtrain.run.faults import Faults

N_ROWS = 20_000  # 40 chunks


def _train(problem: Problem, *planned: chaos.Kill | chaos.Slow | Any, **settings: Any) -> ht.Result:
    plan = chaos.Plan(planned)
    usual: dict[str, Any] = {"workers": 2, "epochs": 3, "chaos": plan}
    return ht.train(ht.Linear(), (problem.X, problem.labels), **{**usual, **settings})


def test_the_module_is_public() -> None:
    assert ht.chaos is hybridtrain.chaos is chaos
    assert set(chaos.__all__) == {name for name in dir(chaos) if name[0].isupper()}


def test_every_point_of_the_core_has_an_explanation_and_stands_in_the_docs() -> None:
    assert tuple(chaos.POINTS) == POINTS
    docs = Path(__file__).parents[3] / "docs" / "faults.md"
    lines = docs.read_text(encoding="utf-8").splitlines()
    for point in POINTS:
        assert any(line.startswith(f"| `{point}` |") for line in lines), point


def test_words_are_taken_with_spaces() -> None:
    kill = chaos.Kill(worker=None, at="after commit", step=40)
    assert (kill.worker, kill.at, kill.step, kill.signal) == ("any", "after_commit", 40, "SIGKILL")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: chaos.Kill(at="after comit"), "did you mean 'after_commit'"),
        (lambda: chaos.Kill(at=3), "Kill: at must be one of before_claim"),
        (lambda: chaos.Kill(worker=-1), "Kill: worker must be >= 0, got -1"),
        (lambda: chaos.Kill(worker=True), "Kill: worker must be an int"),
        (lambda: chaos.Kill(worker="all"), "Kill: worker must be .any. or a number, got 'all'"),
        (lambda: chaos.Kill(worker=1024), "Kill: worker must be at most 1023"),
        (lambda: chaos.Kill(step=0), "Kill: step must be >= 1, got 0"),
        (lambda: chaos.Kill(signal="SIGTERM"), "Kill: signal must be one of SIGKILL"),
        (lambda: chaos.Stop(seconds=0), "Stop: seconds must be finite and > 0, got 0"),
        (lambda: chaos.Slow(worker=0, factor=0.5), "Slow: factor must be in 1 .. 1e6, got 0.5"),
        (lambda: chaos.Fail("ENOSPACE"), "did you mean 'enospc'"),
        (lambda: chaos.Fail("EIO", at="checkpiont"), "did you mean 'checkpoint'"),
        (lambda: chaos.Fail("EIO", time=0), "Fail: time must be >= 1"),
        (lambda: chaos.Random(kill=1.5), "Random: kill must be a probability in 0 .. 1, got 1.5"),
        (lambda: chaos.Random(stop="often"), "Random: stop must be a probability"),
        (lambda: chaos.Plan([chaos.Kill(), "kill"]), "one is 'kill'"),
        (lambda: chaos.Plan(3), "must be a list of Kill, Stop, Slow, Fail and Random, got 3"),
        (lambda: chaos.Plan([], seed=-1), "seed of the plan must be >= 0"),
        (lambda: parse_chaos("kil:0.1"), "did you mean 'kill'"),
        (lambda: parse_chaos("kill:often"), "'often' is no probability"),
        (lambda: parse_chaos("kill"), "'' is no probability"),
        (lambda: parse_chaos("kill:0.1,kill:0.2"), "chaos must be kill:P, stop:P or both"),
        (lambda: parse_chaos("kill:7"), "Random: kill must be a probability in 0 .. 1, got 7.0"),
    ],
)
def test_what_is_no_fault_is_refused(make: Any, text: str) -> None:
    with pytest.raises(ht.InvalidSettingError, match=text):
        make()


def test_words_of_the_command_line_become_a_plan() -> None:
    plan = parse_chaos("stop:0.02, kill:0.01", seed=7)
    assert plan == chaos.Plan([chaos.Random(kill=0.01, stop=0.02)], seed=7)


@pytest.mark.parametrize(
    ("planned", "settings", "text"),
    [
        (chaos.Kill(), {}, 'Kill needs backend="processes"'),
        (chaos.Stop(), {}, 'Stop needs backend="processes"'),
        (chaos.Random(kill=0.1), {}, 'Random needs backend="processes"'),
        (chaos.Slow(worker=2, factor=5), {}, "Slow: worker must be below 2"),
        (chaos.Kill(worker=2), {"backend": "processes"}, "Kill: worker must be below 2"),
        (
            chaos.Kill(at="chunk_begun"),
            {"backend": "processes", "strategy": "sync"},
            "this run does not come to chunk_begun",
        ),
        (
            chaos.Stop(at="in_merging"),
            {"backend": "processes", "strategy": "hybrid"},
            "this run does not come to in_merging .*; it comes to position_taken",
        ),
        (
            chaos.Kill(at="exchange locked"),
            {"backend": "processes", "strategy": "hogwild"},
            "this run does not come to exchange_locked",
        ),
        (
            chaos.Kill(at="in_averaging"),
            {"backend": "processes", "strategy": "hogwild"},
            "this run does not come to in_averaging",
        ),
    ],
)
def test_a_fault_that_does_not_go_with_the_run_is_refused(
    planned: Any, settings: dict[str, Any], text: str, problem: Problem
) -> None:
    with pytest.raises(ht.InvalidSettingError, match=text):
        _train(problem, planned, **settings)


@pytest.mark.parametrize("plan", ["kill:0.1", [chaos.Slow(worker=0, factor=2)], 3])
def test_what_is_no_plan_is_refused(plan: Any, problem: Problem) -> None:
    with pytest.raises(ht.InvalidSettingError, match="chaos must be a plan, such as"):
        _train(problem, chaos=plan)


def test_a_run_without_chaos_has_no_faults(problem: Problem) -> None:
    assert _train(problem, chaos=None).faults == ()
    assert _train(problem).faults == ()


@pytest.mark.parametrize("strategy", ["sync", "local_sgd(replicas=3)", "hybrid", "hogwild"])
def test_a_slow_thread_does_less_and_is_reported(strategy: str) -> None:
    slow = chaos.Slow(worker=1, factor=300)
    result = _train(planted(3, N_ROWS, 60, longest=10), slow, strategy=strategy)
    assert [(record.fault, record.fired, record.worker) for record in result.faults] == [
        (slow, True, 1)
    ]
    assert result.workers[1].rows < result.workers[0].rows
    assert all(ledger.trained == N_ROWS for ledger in result.ledger)


def test_a_write_fails_when_it_is_due_and_only_then() -> None:
    fail, later = chaos.Fail("ENOSPC", time=2), chaos.Fail("EIO", time=9)
    done = Faults(chaos.Plan([fail, later]))
    done.pass_by("checkpoint")
    with pytest.raises(OSError, match=r"No space left on device.*chaos") as caught:
        done.pass_by("checkpoint")
    assert caught.value.errno == errno.ENOSPC
    done.pass_by("checkpoint")
    records = done.records()
    assert [(record.fault, record.fired) for record in records] == [(fail, True), (later, False)]
    assert records[0].seconds is not None
    Faults().pass_by("checkpoint")


@pytest.mark.parametrize("share", [0.003, 0.1, 0.7])
def test_random_steps_have_their_probability(share: float) -> None:
    steps = list(itertools.islice(faults._steps(share, random.Random(1)), 4000))
    assert steps == sorted(set(steps))
    assert steps[0] >= 1
    assert 4000 / steps[-1] == pytest.approx(share, rel=0.06)
    assert steps == list(itertools.islice(faults._steps(share, random.Random(1)), 4000))


def test_random_steps_at_the_ends() -> None:
    assert list(itertools.islice(faults._steps(1.0, random.Random(0)), 3)) == [1, 2, 3]
    assert list(faults._steps(0.0, random.Random(0))) == []
    for share in (1e-300, 5e-324):
        assert list(faults._steps(share, random.Random(0))) == []
