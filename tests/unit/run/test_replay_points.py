# SPDX-License-Identifier: BSD-3-Clause
"""Replays to a point and to an early end; the example of the docs; what is refused by its words."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from support.recorded_runs import require_equal

import hybridtrain as ht

N_ROWS = 3000
DOCS = Path(__file__).parents[3] / "docs"
X = np.random.default_rng(3).normal(size=(N_ROWS, 24)).astype(np.float32)
DATA = X, X[:, 0] + X[:, 1] > 0.3


def _train(file: Path, data: Any = DATA, **settings: Any) -> ht.Result:
    usual = {"strategy": "async(every=20)", "workers": 2, "epochs": 2, "model": ht.Linear()}
    settings = {**usual, **settings}
    return ht.train(settings.pop("model"), data, record=file, **settings)


def test_the_example_of_the_docs_diverges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "replay.md").read_text()
    example = re.search(r"## A run that diverged.*?```python\n(.*?)```", page, re.DOTALL)
    assert example is not None
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example[1], names)
    said, *lines = capsys.readouterr().out.splitlines()
    assert said.startswith("the loss became infinite or NaN in epoch 1")
    assert float(lines[-1].split()[1]) > 100
    with pytest.raises(ht.DivergedError):
        ht.replay("run.htr", names["data"])


# ---- ends


def test_a_run_that_trained_nothing_is_replayed(tmp_path: Path) -> None:
    file = tmp_path / "run.htr"
    first = _train(file, seconds=1e-6)
    again = ht.replay(file, DATA)
    assert (first.ledger, again.ledger) == ((), ())
    assert first.settings["stopped"] == again.settings["stopped"] == "seconds"
    require_equal(first, again)
    with pytest.raises(ht.InvalidSettingError, match="which has 0"):
        ht.replay(file, DATA, until=(1, 0))


@pytest.mark.parametrize("raised", [KeyError, SystemExit])
def test_a_replay_says_that_an_exception_ended_the_run(
    raised: type[BaseException], tmp_path: Path
) -> None:
    file = tmp_path / "run.htr"

    def fail(record: ht.EpochRecord) -> None:
        raise raised(record.epoch)

    with pytest.raises(raised):
        _train(file, callbacks=[fail])
    again = ht.replay(file, DATA)
    assert again.settings["stopped"] == "exception"
    assert {worker.ended for worker in again.workers} == {"exception"}
    assert len(again.history) == 1
    again.save(tmp_path / "again.npz")
    assert ht.load(tmp_path / "again.npz").settings["stopped"] == "exception"


# ---- points


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_the_loss_at_a_point_is_of_all_rows_trained(loss: Any, tmp_path: Path) -> None:
    file, y = tmp_path / "run.htr", np.arange(N_ROWS) % 2
    model = ht.Linear(loss=loss, fit_intercept=False)
    _train(file, (X, y), model=model, optimizer="sgd(lr=1e-20)", workers=3)
    for row in (4, 700, 1501, N_ROWS):  # 3,000 rows are 6 chunks: there are open ones
        record = ht.replay(file, (X, y), until=(2, row)).history[-1]
        assert row <= record.rows < row + 4
        assert record.loss == pytest.approx(math.log(2), rel=1e-6)


def test_a_row_past_the_epochs_rows_is_its_end(tmp_path: Path) -> None:
    file = tmp_path / "run.htr"
    whole = _train(file)
    first, last = (ht.replay(file, DATA, until=(epoch, 10**9)) for epoch in (1, 2))
    assert first.ledger == whole.ledger[:1]
    assert first.history[0].loss == whole.history[0].loss
    require_equal(whole, last)
    assert last.settings["stopped"] == "until"


# ---- what is refused, and how


@pytest.mark.parametrize("path", [3, None, b"run.htr", ["run.htr"]])
def test_what_is_no_path_is_refused_by_name(path: Any) -> None:
    for use in (ht.load, lambda path: ht.replay(path, DATA)):
        with pytest.raises(ht.InvalidSettingError, match=r"a path must be a str or .*, got "):
            use(path)


@pytest.mark.parametrize("strategy", ["hogwild", "hybrid(hot=10)"])
def test_one_worker_needs_no_record(strategy: str, tmp_path: Path) -> None:
    rows = sparse.random(500, 200, density=0.05, format="csr", dtype=np.float32, random_state=0)
    with pytest.raises(ht.InvalidSettingError, match=r"one worker.* depend on the seed alone"):
        _train(tmp_path / "run.htr", (rows, np.arange(500) % 2), strategy=strategy, workers=1)


def test_columns_in_another_order_are_told_by_their_names(tmp_path: Path) -> None:
    file, frame = tmp_path / "run.htr", pd.DataFrame(X[:, :3], columns=["a", "b", "c"])
    data = frame, DATA[1]
    first = _train(file, data, epochs=1)
    require_equal(first, ht.replay(file, data))
    with pytest.raises(ht.RecordError, match="column 1 is 'b' there, 'c' here; give") as caught:
        ht.replay(file, (frame[["a", "c", "b"]], DATA[1]))
    assert "content" not in str(caught.value)


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize("name", ["d.svm", "link.svm", "rows/X.npy", "rows/y.npy", "rows"])
def test_a_record_does_not_overwrite_what_the_run_reads(
    name: str, is_read: bool, tmp_path: Path
) -> None:
    (tmp_path / "d.svm").write_text("1 1:1 24:1\n-1 2:1\n")
    (tmp_path / "link.svm").symlink_to("d.svm")
    ht.save_directory(tmp_path / "rows", X[:8], np.arange(8) % 2 * 2.0 - 1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    validation: Any = str(tmp_path / "d.svm")
    data: Any = tmp_path / "rows"
    if is_read:
        validation, data = ht.read_data(validation), ht.read_data(data)
    with pytest.raises(ht.InvalidSettingError, match=r"for record: it is read .*another name"):
        _train(tmp_path / name, data, validation=validation)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_an_empty_name_is_no_record() -> None:
    with pytest.raises(ht.InvalidSettingError, match="record must be the path of a file, got ''"):
        ht.train(ht.Linear(), DATA, strategy="async", record="")
