# SPDX-License-Identifier: BSD-3-Clause
"""The loss that is chosen for labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from hybridtrain.cli.labels import choose_loss


@pytest.mark.parametrize(
    ("labels", "loss", "reason"),
    [
        ([1.0, -1.0, 1.0], "logistic", "two classes: -1, 1"),
        ([0.5, 0.25, 0.5], "logistic", "two classes: 0.25, 0.5"),
        ([True, False], "logistic", "two classes: False, True"),
        (["late", "early"], "logistic", "two classes: early, late"),
        ([3, 1, 2, 1], "softmax", "3 classes: 1, 2, 3"),
        ([*"fedcba"], "softmax", "6 classes: a, b, c, d, e, ..."),
        ([0.5, 1.0, 2.0], "squared", "labels are numbers: 0.5 .. 2"),
        (list(range(100)), "softmax", "100 classes: 0, 1, 2, 3, 4, ..."),
        (list(range(101)), "squared", "labels are numbers: 0 .. 100"),
        ([str(k) for k in range(200)], "softmax", "200 classes: 0, 1, 10, 100, 101, ..."),
    ],
)
def test_the_loss_follows_the_labels(labels: Any, loss: str, reason: str) -> None:
    assert choose_loss(np.array(labels)) == (loss, reason)


def test_labels_that_are_all_equal_teach_nothing() -> None:
    with pytest.raises(ht.InvalidDataError, match="all 7 labels are 1: there is nothing to learn"):
        choose_loss(np.ones(7))


def test_a_label_that_is_no_number_is_named_with_its_row() -> None:
    with pytest.raises(ht.InvalidDataError, match="the label of row 3 is nan"):
        choose_loss(np.array([1.0, 2.0, np.nan]))
