# SPDX-License-Identifier: BSD-3-Clause
"""What `train` is told on other machines: the same values, or a refusal that says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from hybridtrain.data.scaling import Scaling
from hybridtrain.errors import InvalidSettingError
from hybridtrain.nodes import calls
from hybridtrain.nodes.calls import to_text

CALL: dict[str, Any] = {
    "model": ht.Linear(),
    "data": "rows.svm",
    "strategy": "sync",
    "optimizer": "sgd",
    "workers": None,
    "epochs": 5,
    "batch_size": None,
    "seed": 0,
    "init": None,
    "validation": None,
    "seconds": None,
    "patience": None,
    "scale": "auto",
    "backend": "threads",
    "timeout": 60.0,
    "checkpoint": None,
    "resume": False,
}


def from_text(text: str, init: Any = None) -> dict[str, Any]:
    return calls.from_text(text, lambda: init)


@pytest.fixture(autouse=True)
def _rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.svm").write_text("1 0:1 3:2\n-1 1:1\n")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"model": ht.Linear(loss="huber", l1=1e-3, fit_intercept=False, delta=0.5)},
        {"model": ht.Linear(class_weight={"spam": 1.5, "ham": np.float64(2)})},
        {"model": ht.Linear(class_weight="balanced"), "seed": np.int64(7), "validation": 0.25},
        {"strategy": ht.Sync(), "workers": 3, "batch_size": 64, "scale": None, "patience": 2},
        {"optimizer": ht.AdaGrad(lr=0.25), "seconds": np.float32(2.5)},
        {"checkpoint": ht.Checkpoint("run", every_seconds=5.0, keep=3), "resume": "older"},
        {"optimizer": ht.SGD(momentum=0.5, schedule="cosine"), "validation": "rows.svm"},
        {"optimizer": ht.SGD(schedule=ht.Warmup(0.5, then=ht.Warmup(1.0, then="constant")))},
    ],
)
def test_a_call_arrives_as_it_was_made(more: dict[str, Any]) -> None:
    given = {**CALL, **more}
    arrived = from_text(to_text(given))
    assert arrived.keys() == given.keys()
    assert str(arrived.pop("strategy")).lower().startswith("sync(")
    if isinstance(given["optimizer"], str):
        assert arrived.pop("optimizer") == ht.SGD()
    assert arrived == {name: given[name] for name in arrived}


def test_init_is_fetched_by_those_that_are_told_of_one() -> None:
    given = {"coef": [0.5]}
    assert from_text(to_text({**CALL, "init": given}), given)["init"] is given
    assert from_text(to_text(CALL), given)["init"] is None


def test_a_file_that_was_read_with_settings_is_read_so_again() -> None:
    rows = ht.read_data("rows.svm", zero_based=True)
    arrived = from_text(to_text({**CALL, "data": rows}))["data"]
    assert arrived.reading == rows.reading
    assert (arrived[0] != rows[0]).nnz == 0


class _Own:
    def factor(self, epochs: float, total: float) -> float:
        return 1.0


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"data": (np.ones((2, 2)), [0, 1])}, r"data must be a path that .* ht\.save_directory"),
        ({"validation": (np.ones((2, 2)), [0, 1])}, "validation must be a path"),
        ({"scale": Scaling()}, "scale must be"),
        (
            {"model": ht.Linear(class_weight={"a" * 1_000_000: 1.0, "b": 1.0})},
            "at most 1,000,000 bytes",
        ),
        ({"optimizer": ht.SGD(schedule=_Own())}, "schedule must be one of hybridtrain's own"),
    ],
)
def test_what_cannot_travel_is_refused(more: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidSettingError, match=what):
        to_text({**CALL, **more})


@pytest.mark.parametrize(
    "more",
    [
        {"model": None},
        {"model": {"loss": "none"}},
        {"optimizer": {"name": "os.system", "values": {}}},
        {"optimizer": {"name": "sgd", "values": {"schedule": {"schedule": "x", "values": {}}}}},
        {"strategy": "sync(every=__import__)"},
        {"strategy": 3},
    ],
)
def test_a_call_that_is_none_is_refused(more: dict[str, Any]) -> None:
    told = json.loads(to_text(CALL)) | more
    with pytest.raises(InvalidSettingError):
        from_text(json.dumps(told))
    for text in ("", "[]", "{}", "null"):
        with pytest.raises(InvalidSettingError, match="is not understood"):
            from_text(text)


def test_a_path_that_this_node_lacks_is_named_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no missing.npz .* folder is {tmp_path}"):
        from_text(to_text({**CALL, "data": "missing.npz"}))
