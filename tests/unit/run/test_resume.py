# SPDX-License-Identifier: BSD-3-Clause
"""Runs that go on from a checkpoint: the bits of a run that was never interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from scipy import sparse
from support.files import have_same_bits
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
from hybridtrain.run.job import Job

STREAMS = ["hybrid", "hybrid(every=16)", "hybrid(hot=4)", "hogwild", "async(every=16, staleness=0)"]
OPTIMIZERS = ["sgd", "sgd(average=True)", "adagrad", "ftrl"]


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hybridtrain.run.job._GLANCE_SECONDS", 1e-4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("strategy", STREAMS)
def test_one_worker_goes_on_with_the_same_bits(
    strategy: str, optimizer: str, problem: Problem, tmp_path: Path
) -> None:
    settings = {"strategy": strategy, "optimizer": optimizer}
    whole = train_part(problem, **settings)
    check_same(in_parts(problem, tmp_path, {}, {}, **settings), whole)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "adam", "rmsprop", "sgd(momentum=0.9)"])
def test_sync_goes_on_with_the_same_bits_on_other_workers_and_backends(
    optimizer: str, problem: Problem, tmp_path: Path
) -> None:
    settings = {"strategy": "sync", "optimizer": optimizer, "batch_size": 48}
    whole = train_part(problem, **settings)
    others = {"workers": 2}, {"workers": 3, "backend": "processes"}
    check_same(in_parts(problem, tmp_path, *others, **settings), whole)


@pytest.mark.parametrize("strategy", ["sync", "local_sgd(replicas=3)", "hybrid"])
def test_softmax_scaled_columns_and_weights_go_on(strategy: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(1e3, [1.0, 100.0, 1e-3], (300, 3))
    y = np.digitize(X[:, 0] + X[:, 1] / 100, [1009.5, 1010.5, 1011.5])
    settings = {"strategy": strategy, "workers": 1, "epochs": EPOCHS, "validation": 0.2}
    data = X, y, rng.uniform(0, 2, 300)
    whole = ht.train(ht.Linear(loss="softmax"), data, **settings)
    assert whole.scaling is not None
    with pytest.raises(ht.TrainingInterrupted) as caught:
        ht.train(
            ht.Linear(loss="softmax"),
            data,
            checkpoint=tmp_path,
            callbacks=[interrupted_after(2)],
            **settings,
        )
    result = ht.train(ht.Linear(loss="softmax"), data, checkpoint=tmp_path, resume=True, **settings)
    check_same(result, whole)
    tried = caught.value.result.settings["lr_trials"]
    assert result.settings["lr_trials"] == tried  # with its seconds: not tried again


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd(momentum=0.9)", "sgd(average=True)"])
def test_a_state_of_means_goes_on_on_dense_rows(
    optimizer: str, problem: Problem, tmp_path: Path
) -> None:
    """The powers of its decays count the rows of all parts."""
    dense = replace(problem, X=problem.X.toarray())
    settings = {"strategy": "hybrid", "optimizer": optimizer}
    whole = train_part(dense, **settings)
    check_same(in_parts(dense, tmp_path, {}, {}, **settings), whole)


def test_patience_and_the_best_epoch_go_on(problem: Problem, tmp_path: Path) -> None:
    """Also through the fall of the rate at the end."""
    settings = {
        "strategy": "sync",
        "validation": 0.3,
        "patience": 2,
        "epochs": 60,
        "optimizer": "sgd(lr=3.0)",
        "batch_size": 16,
    }
    whole = train_part(problem, **settings)
    assert whole.settings["stopped"] == "patience"
    n_parts = len(whole.history) - 2  # the last of them within the fall
    check_same(in_parts(problem, tmp_path, *[{}] * n_parts, **settings), whole)


@pytest.mark.parametrize("strategy", ["sync", "local_sgd(replicas=4)", "hybrid", "hogwild"])
def test_an_epoch_goes_on_in_its_middle(
    strategy: str, problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is lost between two checkpoints of an epoch: a copy of the folder is all."""
    any_workers = strategy.startswith(("sync", "local_sgd"))  # have the same bits
    problem = _repeated(problem)  # an epoch has many rounds or chunks, and lasts some looks
    settings = {
        "strategy": strategy,
        "batch_size": 8 if any_workers else None,
        "epochs": 12,
    }
    whole = train_part(problem, **settings)
    middles: list[tuple[int, bytes]] = []
    keep = Job._keep

    def keep_and_copy(job: Job, **more: Any) -> None:
        run = job._stage.run
        if middles and middles[-1][0] == run.opened:
            return  # one of each epoch
        keep(job, **more)
        assert job.saving.keeper is not None
        job.saving.keeper._await()  # a disk slower than an epoch: the next would never be due
        trained = run.epoch_report()["trained"]
        if 0 < trained < problem.X.shape[0]:
            middles.append((run.opened, newest_file(tmp_path / "run").read_bytes()))

    monkeypatch.setattr(Job, "_keep", keep_and_copy)
    saved = ht.Checkpoint(tmp_path / "run", every_seconds=OFTEN)
    check_same(train_part(problem, checkpoint=saved, **settings), whole)  # saving changes no bit
    monkeypatch.undo()
    assert middles
    for k in {0, len(middles) // 2, len(middles) - 1}:
        epoch, content = middles[k]
        (tmp_path / "middle").write_bytes(content)
        workers = 1 + any_workers
        result = train_part(problem, resume=tmp_path / "middle", **settings, workers=workers)
        check_same(result, whole)
        assert result.workers[0].rows < sum(record.trained for record in result.ledger[epoch - 1 :])


def _repeated(problem: Problem) -> Problem:
    X = sparse.vstack([problem.X] * 50, format="csr")
    return replace(problem, X=X, labels=np.tile(problem.labels, 50))


def test_a_run_that_is_over_gives_its_result_again(problem: Problem, tmp_path: Path) -> None:
    whole = train_part(problem, checkpoint=tmp_path, validation=0.2)
    files = sorted(tmp_path.iterdir())
    again = train_part(problem, checkpoint=tmp_path, validation=0.2, resume=True)
    check_same(again, whole)
    assert sorted(tmp_path.iterdir()) == files
    assert again.settings["resumed"] == str(newest_file(tmp_path))
    assert again.workers[0].rows == 0


def test_resume_begins_where_there_is_no_checkpoint(problem: Problem, tmp_path: Path) -> None:
    result = train_part(problem, checkpoint=tmp_path / "new", resume=True)
    assert result.settings["resumed"] is None
    assert have_same_bits(result, train_part(problem))
    with pytest.raises(ht.CheckpointError, match="there is no checkpoint in"):
        train_part(problem, resume=tmp_path)


def test_several_workers_of_the_stream_go_on(problem: Problem, tmp_path: Path) -> None:
    """On any number of workers; every row is in the ledger once."""
    parts = {"workers": 2}, {"workers": 3}, {"workers": 1}
    settings = {"strategy": "hybrid", "optimizer": "adagrad", "workers": 2}
    result = in_parts(problem, tmp_path, *parts, **settings)
    n_rows = problem.X.shape[0]
    assert [(r.trained, r.repeated, r.dropped) for r in result.ledger] == [(n_rows, 0, 0)] * EPOCHS
    whole = train_part(problem, **settings)
    assert result.history[-1].loss == pytest.approx(whole.history[-1].loss, rel=0.1)
