# SPDX-License-Identifier: BSD-3-Clause
"""Records and their replay: equal bits, points to stop at, other data, damaged files."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem, planted
from support.recorded_runs import require_equal

import hybridtrain as ht
from hybridtrain import chaos

N_ROWS = 3000
_DIGEST = 32


@pytest.fixture(scope="module")
def sparse() -> Problem:
    return planted(7, N_ROWS, 1500, longest=15)


@pytest.fixture(scope="module")
def dense() -> tuple[Any, Any]:
    X = np.random.default_rng(3).normal(size=(N_ROWS, 24)).astype(np.float32)
    return X, X[:, 0] + X[:, 1] > 0.3


def _train(data: Any, file: Path | None, **settings: Any) -> ht.Result:
    usual = {"strategy": "async(every=20)", "workers": 2, "epochs": 3, "model": ht.Linear()}
    settings = {**usual, **settings}
    return ht.train(settings.pop("model"), data, record=file, **settings)


def _sealed(content: bytes) -> bytes:
    """Return the content of a file with its hash."""
    return content + hashlib.sha256(content).digest()


class _Jump:
    """A schedule that makes the run diverge in its third epoch."""

    def factor(self, epochs: float, total: int) -> float:
        del total
        return 1e39 if epochs >= 2 else 1.0


# ---- equal bits


@pytest.mark.parametrize("strategy", ["async(every=8, staleness=0)", "hybrid(hot=1.0, every=30)"])
@pytest.mark.parametrize(
    "optimizer",
    ["sgd(lr=0.1)", "sgd(average=True)", "sgd(momentum=0.9)", "adagrad", "adam", "ftrl", "rmsprop"],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_replay_has_the_bits_of_threads(
    workers: int, optimizer: str, strategy: str, dense: Any, tmp_path: Path
) -> None:
    file = tmp_path / "run.htr"
    settings = {"strategy": strategy, "optimizer": optimizer, "workers": workers}
    first = _train(dense, file, **settings, chaos=chaos.Plan([chaos.Slow(worker=0, factor=2)]))
    again = ht.replay(file, dense)
    require_equal(first, again)
    assert again.settings["stopped"] is None
    assert first.settings["record"] == {"path": str(file), "bytes": file.stat().st_size}
    for name in ("optimizer", "lr", "strategy", "workers"):
        assert first.settings[name] == again.settings[name]


@pytest.mark.parametrize(
    "settings",
    [
        {"validation": 0.2, "patience": 1, "epochs": 8, "optimizer": "sgd(lr=3.0)"},
        {"seconds": 30.0, "epochs": 3},
        {"model": ht.Linear(l1=1e-4), "optimizer": "ftrl"},
        {"model": ht.Linear(l2=1e-3, class_weight="balanced")},
        {"model": ht.Linear(loss="squared"), "optimizer": "adagrad(lr=0.05)"},
        {"optimizer": ht.SGD(lr=0.5, schedule=ht.Cosine())},
        {"callbacks": [lambda record: record.epoch == 2]},
    ],
)
def test_a_replay_has_the_bits_of_any_settings(
    settings: dict[str, Any], sparse: Problem, tmp_path: Path
) -> None:
    model = settings.get("model", ht.Linear())
    data = sparse.X, sparse.labels.astype(np.float32) if model.loss == "squared" else sparse.labels
    file = tmp_path / "run.htr"
    first = _train(data, file, **settings)
    again = ht.replay(file, data)
    require_equal(first, again)
    assert first.settings["best_epoch"] == again.settings["best_epoch"]


def test_a_replay_goes_on_from_the_parameters_that_the_run_began_with(
    dense: Any, tmp_path: Path
) -> None:
    file, y = tmp_path / "run.htr", np.array(["a", "b", "c"])[np.arange(N_ROWS) % 3]
    data, model = (dense[0], y), ht.Linear(loss="softmax")
    before = ht.train(model, data, epochs=1)
    first = _train(data, file, model=model, init=before)
    require_equal(first, ht.replay(file, data, init=before))
    with pytest.raises(ht.RecordError, match=r"initial parameters: .* there, .* here"):
        ht.replay(file, data)


def test_rests_for_checkpoints_are_replayed(sparse: Problem, tmp_path: Path) -> None:
    file, data = tmp_path / "run.htr", (sparse.X, sparse.labels)
    saved = ht.Checkpoint(tmp_path / "saved", every_seconds=1e-6)
    first = _train(data, file, checkpoint=saved, epochs=10)
    assert first.settings["checkpoint"]["written"] > 1
    require_equal(first, ht.replay(file, data))


# ---- ends


def test_a_diverged_run_is_replayed_to_where_it_diverged(dense: Any, tmp_path: Path) -> None:
    file = tmp_path / "run.htr"
    with pytest.raises(ht.DivergedError) as first:
        _train(dense, file, optimizer=ht.SGD(lr=0.1, schedule=_Jump()), epochs=4)
    with pytest.raises(ht.DivergedError) as again:
        ht.replay(file, dense)
    assert str(first.value) == str(again.value)
    require_equal(first.value.result, again.value.result)
    early = ht.replay(file, dense, until=(3, 5))
    assert first.value.epoch == 3
    assert 5 <= early.ledger[-1].trained < 9
    late = ht.replay(file, dense, until=(3, N_ROWS))
    assert not (np.abs(late.params["coef"]) < 1e6).all()  # NaN, or as far as float32 goes


def test_an_interrupted_run_is_replayed_to_where_it_ended(dense: Any, tmp_path: Path) -> None:
    file = tmp_path / "run.htr"

    def interrupt(record: ht.EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(ht.TrainingInterrupted) as first:
        _train(dense, file, callbacks=[interrupt])
    again = ht.replay(file, dense)
    assert again.settings["stopped"] == "interrupted"
    require_equal(first.value.result, again)


def test_an_error_of_a_callback_leaves_a_record(dense: Any, tmp_path: Path) -> None:
    file = tmp_path / "run.htr"

    def fail(record: ht.EpochRecord) -> None:
        if record.epoch == 2:
            raise RuntimeError("a fault of the user's")

    with pytest.raises(RuntimeError, match="user's"):
        _train(dense, file, callbacks=[fail])
    assert len(ht.replay(file, dense).history) == 2


# ---- where to stop


def test_a_replay_stops_where_one_asks(dense: Any, tmp_path: Path) -> None:
    file = tmp_path / "run.htr"
    _train(dense, file, workers=3)
    before = ht.replay(file, dense, until=(1, 0))
    assert not before.params["coef"].any()
    assert before.settings["stopped"] == "until"
    points = [(1, 1000), (1, 2001), (2, 0), (2, 1500), (3, N_ROWS)]
    results = [ht.replay(file, dense, until=until) for until in points]
    for (epoch, row), result in zip(points, results, strict=True):
        assert [record.epoch for record in result.ledger] == list(range(1, epoch + 1))
        assert row <= result.ledger[-1].trained < row + 4
        again = ht.replay(file, dense, until=(epoch, row))
        assert again.params["coef"].tobytes() == result.params["coef"].tobytes()
    assert len({result.params["coef"].tobytes() for result in results}) == len(points)


@pytest.mark.parametrize("until", [0, (1,), (0, 5), (1, -1), ("1", 2), (1, 2.5), (4, 0), [9, 9]])
def test_points_that_the_run_does_not_have_are_refused(
    until: Any, dense: Any, tmp_path: Path
) -> None:
    file = tmp_path / "run.htr"
    _train(dense, file)
    with pytest.raises(ht.InvalidSettingError, match="until"):
        ht.replay(file, dense, until=until)


# ---- what is refused


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"strategy": "hogwild"}, "in place"),
        ({"strategy": "hybrid(hot=10)"}, "in place"),
        ({"strategy": "hierarchical(groups=2)"}, "in place"),
        ({"strategy": "sync"}, "depend on the seed.* same settings$"),
        ({"strategy": "local_sgd(every='auto')"}, "follow the clock.*set every to a number"),
        ({"strategy": "local_sgd"}, "depend on the seed.*same settings and number of workers"),
        ({"strategy": ht.Switch(("async", 1), ("hybrid(hot=1.0)", None))}, "has 2 parts"),
        ({"resume": "somewhere"}, "leave out resume"),
        ({"scale": ht.train}, "scale must be"),
        ({"file": 3}, "record must be the path"),
    ],
)
def test_runs_that_cannot_be_replayed_are_refused(
    settings: dict[str, Any], reason: str, sparse: Problem, tmp_path: Path
) -> None:
    settings = {"file": tmp_path / "run.htr", **settings}
    with pytest.raises(ht.InvalidSettingError, match=reason):
        _train((sparse.X, sparse.labels), **settings)
    assert list(tmp_path.iterdir()) == []


def test_other_data_are_refused_at_once(dense: Any, tmp_path: Path) -> None:
    file = tmp_path / "run.htr"
    _train(dense, file)
    X = dense[0].copy()
    X[5, 5] += 1
    for data in ((X, dense[1]), (dense[0], ~dense[1]), (X[:-1], dense[1][:-1])):
        with pytest.raises(ht.RecordError, match=r"another run: .*content of the data"):
            ht.replay(file, data)


# ---- files


def test_a_record_that_cannot_be_begun_is_an_error(dense: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _train(dense, tmp_path / "nowhere" / "run.htr")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device")
def test_a_full_disk_ends_the_recording_and_not_the_run(dense: Any) -> None:
    with pytest.raises(OSError, match="No space left"):
        _train(dense, Path("/dev/full"))


def test_a_disk_that_fills_up_ends_the_recording_and_not_the_run(
    dense: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hybridtrain.observe.recording import Recorder  # noqa: PLC0415 - to fill the disk up

    write, n_written = Recorder._write, 0

    def fill_up(self: Recorder, content: Any) -> None:
        nonlocal n_written
        n_written += 1
        if n_written > 9:
            raise OSError(28, "No space left on device")
        write(self, content)

    monkeypatch.setattr(Recorder, "_write", fill_up)
    result = _train(dense, tmp_path / "run.htr", epochs=4)
    assert len(result.history) == 4
    assert n_written > 9
    assert "was not recorded: [Errno 28]" in result.settings["warnings"][-1]
    assert result.settings["record"]["bytes"] is None
    assert list(tmp_path.iterdir()) == []


def test_truncated_and_damaged_records_are_refused(dense: Any, tmp_path: Path) -> None:
    file, bad = tmp_path / "run.htr", tmp_path / "bad.htr"
    _train(dense, file, epochs=1)
    content = file.read_bytes()
    chance = np.random.default_rng(0)
    lengths = [0, 5, 21, 40, *chance.integers(0, len(content) - 1, 20).tolist()]
    for length in lengths:
        bad.write_bytes(content[:length])
        with pytest.raises(ht.RecordError, match="cannot be replayed"):
            ht.replay(bad, dense)
    for at in chance.integers(0, len(content), 20).tolist():
        bad.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(ht.RecordError, match="cannot be replayed"):
            ht.replay(bad, dense)
    with pytest.raises(FileNotFoundError):
        ht.replay(tmp_path / "none.htr", dense)


def test_records_that_somebody_made_up_are_refused(dense: Any, tmp_path: Path) -> None:
    file, bad = tmp_path / "run.htr", tmp_path / "bad.htr"
    _train(dense, file, epochs=2)
    content = file.read_bytes()[:-_DIGEST]
    start = content.index(b"\n") + 1
    length = struct.unpack_from("<IIQ", content, start)[2]
    header = json.loads(content[start + 16 : start + 16 + length])
    rest = content[start + 16 + length :]

    def made(told: Any, rest: bytes = rest, nbytes: int | None = None) -> None:
        text = json.dumps(told).encode()
        head = struct.pack("<IIQ", 1, 0, len(text) if nbytes is None else nbytes)
        bad.write_bytes(_sealed(content[:start] + head + text + rest))

    made(header)
    ht.replay(bad, dense)
    made(header, nbytes=1 << 62)
    with pytest.raises(ht.RecordError, match="larger than the file"):
        ht.replay(bad, dense)
    for name, value in [
        ("workers", 0),
        ("workers", 1 << 40),
        ("workers", "2"),
        ("epochs", -1),
        ("seed", None),
        ("validation", 7.0),
        ("model", {"loss": "none"}),
        ("optimizer", {"name": "sgd", "values": {"lr": -1}}),
        ("plan", {**header["plan"], "rows_in_flight": 1 << 20}),
        ("plan", {**header["plan"], "lr": float("nan")}),
        ("plan", {}),
    ]:
        made({**header, name: value})
        with pytest.raises(ht.RecordError, match="cannot be replayed"):
            ht.replay(bad, dense)
    for begin in (
        rest[:8] + rest[16:],
        rest[:16],
        rest + rest,
        struct.pack("<IIQ", 4, 0, 0) + rest,
    ):
        made(header, begin)
        with pytest.raises(ht.RecordError, match="cannot be replayed"):
            ht.replay(bad, dense)
