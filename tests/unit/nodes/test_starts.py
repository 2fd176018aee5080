# SPDX-License-Identifier: BSD-3-Clause
"""What a run starts from, as bytes: nothing is pickled, and what is damaged is refused."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

import hybridtrain as ht
from hybridtrain.nodes.starts import init_from_bytes, init_to_bytes

COEF = np.arange(4, dtype=np.float32)


@pytest.mark.parametrize(
    "init",
    [
        {"coef": COEF},
        {"coef": COEF.tolist(), "intercept": 0.25},
        {"coef": COEF, "intercept": 1.0, "classes": ["ham", "spam"]},
        {"coef": COEF, "classes": [7, 3]},
    ],
)
def test_arrays_arrive_with_the_classes_in_order(init: dict[str, Any]) -> None:
    arrived = init_from_bytes(init_to_bytes(init, ht.Linear()))
    assert isinstance(arrived, dict)
    assert arrived.keys() == init.keys()
    sign = 1 if init.get("classes", [0, 1])[0] < init.get("classes", [0, 1])[1] else -1
    assert (sign * arrived["coef"] == COEF).all()
    assert arrived.get("intercept") == init.get("intercept")
    assert sorted(init.get("classes", [])) == list(arrived.get("classes", []))


def test_a_result_arrives_with_its_names() -> None:
    X = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    result = ht.train(ht.Linear(), (pd.DataFrame(X, columns=list("pqr")), X[:, 0] > 0), epochs=1)
    arrived = init_from_bytes(init_to_bytes(result, ht.Linear()))
    assert isinstance(arrived, ht.Result)
    assert arrived.feature_names == ("p", "q", "r")
    assert (arrived.params["coef"] == result.params["coef"]).all()


def test_what_train_refuses_is_refused_before_it_travels() -> None:
    with pytest.raises(ht.InvalidSettingError, match="init must be a Result or a dict"):
        init_to_bytes([1.0], ht.Linear())
    with pytest.raises(ht.InvalidSettingError, match="text or numbers on other machines"):
        init_to_bytes({"coef": COEF, "classes": [date(2020, 1, 1), date(2021, 1, 1)]}, ht.Linear())


@pytest.mark.parametrize("content", [b"", b"A", b"R", b"Apickle", b"R" + bytes(100)])
def test_what_is_damaged_is_refused(content: bytes) -> None:
    with pytest.raises(ht.InvalidDataError):
        init_from_bytes(content)
