# SPDX-License-Identifier: BSD-3-Clause
"""Periods: how many steps replicas make between two merges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from scipy import sparse
from support.saved_runs import check_same, in_parts, train_part

import hybridtrain as ht
from hybridtrain.optimizers.periods import Course, parse_period

START = Course(lr=1.0, first_lr=1.0, loss=1.0, first_loss=1.0, merging=0.1)


def test_a_number_stays() -> None:
    period = parse_period(7)
    assert period.first(64, 1.0) == period.following(7, 7, START) == 7
    assert parse_period(None).first(64, 1.0) == 64


def test_adacomm_follows_the_loss_and_the_rate() -> None:
    period = parse_period("adacomm")
    assert period.first(64, 1.0) == 64
    assert period.following(64, 64, replace(START, loss=0.25)) == 32
    assert period.following(64, 64, replace(START, loss=0.25, lr=0.5)) == 46  # ceil(64 sqrt(1/2))
    assert period.following(33, 64, START) == 17  # it would grow: half, rounded up
    assert period.following(1, 64, replace(START, loss=0.0)) == 1
    assert period.following(5, 64, replace(START, lr=0.0)) == 3


def test_qsr_follows_the_rate() -> None:
    period = parse_period("qsr(every=4)")
    assert period.first(64, 0.3) == 4
    assert period.following(4, 4, replace(START, lr=0.5)) == 16
    assert parse_period(ht.QSR(every=4, alpha=1.0)).first(64, 0.1) == 100
    assert parse_period(ht.QSR(every=4, alpha=1.0)).first(64, 10.0) == 4
    assert period.following(4, 4, replace(START, lr=0.0)) >= 1 << 15


@pytest.mark.parametrize(("merging", "steps"), [(0.1, 8), (0.5, 72), (0.0, 1), (0.05, 4)])
def test_auto_keeps_merges_within_a_tenth_of_the_time(merging: float, steps: int) -> None:
    assert parse_period("auto").following(8, 64, replace(START, merging=merging)) == steps


@pytest.mark.parametrize("every", [0, 1.5, True, "many", "qsr(every=0)", ht.SGD()])
def test_what_is_no_period_is_refused(every: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="every"):
        ht.LocalSGD(every=every)


def test_only_auto_follows_the_clock() -> None:
    for every in (3, None, "adacomm", ht.QSR()):
        assert ht.LocalSGD(every=every, replicas=2).same_bits_for_any_workers
    assert not ht.LocalSGD(every="auto", replicas=2).same_bits(1)


@pytest.mark.parametrize("every", ["adacomm", "qsr(every=2)"])
def test_a_period_goes_on_with_the_same_bits(every: str, problem: Problem, tmp_path: Path) -> None:
    """On other workers and backends, from the middle of its course."""
    X = sparse.vstack([problem.X] * 20, format="csr")  # enough rows for many merges an epoch
    problem = replace(problem, X=X, labels=np.tile(problem.labels, 20))
    settings = {"strategy": ht.LocalSGD(every=every, replicas=3), "batch_size": 4}
    whole = train_part(problem, **settings)
    taken = whole.settings["every"]
    assert taken == sorted(taken, reverse=every == "adacomm")
    assert len(set(taken)) > 1
    others = {"workers": 2}, {"workers": 3, "backend": "processes"}
    check_same(in_parts(problem, tmp_path, *others, **settings), whole)
