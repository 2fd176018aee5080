# SPDX-License-Identifier: BSD-3-Clause
"""A run that does not fit is refused before it maps anything, and says what to do."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain.plan import round as round_plan
from hybridtrain.plan import stream as stream_plan


@pytest.fixture(scope="module")
def starved() -> list[list[str]]:
    """Return the lines of starved_run.py, cut at their bars."""
    script = Path(__file__).parents[2] / "support" / "starved_run.py"
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # each arena is 64 MiB of addresses
    )
    assert done.returncode == 0, done.stderr
    return [line.split(" | ") for line in done.stdout.splitlines()]


def test_what_does_not_fit_is_refused_with_both_sizes(starved: list[list[str]]) -> None:
    for text, sizes, _ in starved[:2]:
        needed, available = (int(size) for size in sizes.split())
        assert needed > available > 0
        assert text.startswith(f"the run needs {needed / 2**20:.4g} MiB of memory, there are ")
        assert f"there are {available / 2**20:.4g} MiB; choose fewer workers" in text
    assert "exact=True" in starved[0][0]
    assert "fewer hot features" in starved[1][0]


def test_what_the_system_refuses_is_the_same_error(starved: list[list[str]]) -> None:
    for known, (text, sizes, _) in zip(starved[:2], starved[2:4], strict=True):
        assert sizes == f"{known[1].split()[0]} None"
        assert "MiB of memory, which the system refused; choose fewer workers" in text


def test_a_refused_thread_is_an_error_that_says_which(starved: list[list[str]]) -> None:
    text, sizes, _ = starved[4]
    assert text.startswith("the system refused a thread for worker ")
    assert " of 900 (" in text
    assert sizes == "None None"


def test_a_starved_run_leaves_nothing_mapped(starved: list[list[str]]) -> None:
    for k, line in enumerate(starved):
        # The C library keeps a varying number of the stacks of threads that have ended.
        assert int(line[-1]) < (100 << 20 if k == 4 else 16 << 20), line


def test_the_process_trains_afterwards(starved: list[list[str]]) -> None:
    assert [line[0] for line in starved[5:]] == ["it fitted"]


@pytest.mark.parametrize("strategy", ["sync", "local_sgd(replicas=3)", "hybrid", "hogwild"])
def test_a_run_is_compared_with_the_memory_there_is(
    strategy: str, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(available: int) -> ht.Result:
        for module in (round_plan, stream_plan):
            monkeypatch.setattr(module, "available_memory", lambda: available)
        settings: dict[str, Any] = {"optimizer": ht.SGD(lr=0.1), "workers": 1, "epochs": 1}
        return ht.train(
            ht.Linear(), (problem.X, problem.labels), strategy=strategy, **settings
        )  # without trials, which need memory of their own

    with pytest.raises(ht.OutOfMemoryError, match="there are 7 bytes") as caught:
        train(7)
    needed = caught.value.needed
    assert needed is not None
    assert caught.value.available == 7
    with pytest.raises(ht.OutOfMemoryError):
        train(needed - 1)
    assert train(needed).ledger[0].trained == 400


def test_plain_sums_take_no_more_shares_than_a_batch_has_strips(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round_plan, "available_memory", lambda: 0)

    def needed(**settings: Any) -> int:
        with pytest.raises(ht.OutOfMemoryError) as caught:
            ht.train(
                ht.Linear(),
                (problem.X, problem.labels),
                strategy=ht.Sync(exact=False),
                optimizer=ht.SGD(lr=0.1),  # without trials, which need memory first
                **settings,
            )
        assert caught.value.needed is not None
        return caught.value.needed

    of_2 = needed(workers=16, batch_size=2)
    of_8 = needed(workers=16, batch_size=8)
    assert of_8 > of_2
    assert needed(workers=32, batch_size=2) < 3 * of_2


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("hybridtrain.run.posing.learn", "checking the rows"),
        ("hybridtrain.plan.stream.count_rows", "preparing the run"),
        ("hybridtrain.run.job.mean_loss", "the validation"),
        ("hybridtrain.run.result.canonical_rows", "predicting"),
    ],
)
def test_memory_that_numpy_does_not_get_is_named(
    place: str, what: str, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **settings: object) -> None:
        raise MemoryError("Unable to allocate 7 GiB")

    module, _, name = place.rpartition(".")
    # functions hide the modules' names
    monkeypatch.setattr(importlib.import_module(module), name, refuse)
    data = problem.X, problem.labels
    with pytest.raises(ht.OutOfMemoryError) as caught:
        ht.train(ht.Linear(), data, epochs=1, validation=data).predict(problem.X)
    message = str(caught.value)
    assert message.startswith(f"{what} needs more memory than there is (Unable to allocate 7 GiB)")
