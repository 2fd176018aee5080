# SPDX-License-Identifier: BSD-3-Clause
"""Rows of the core: wrong arguments give errors, and never touch memory that is not theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.core_edges import N_FEATURES, N_ROWS, dense_arrays, make_rows, sparse_arrays

from hybridtrain._core.rows import Rows, isas


@pytest.mark.parametrize(
    "changes",
    [
        {"n_features": 0},
        {"n_features": -1},
        {"n_features": -(2**62)},
        {"n_features": 2**31},
        {"pointers": np.array([0], np.int64)},
        {"pointers": np.array([], np.int64)},
        {"pointers": np.arange(1, N_ROWS + 2, dtype=np.int64) * 3},
        {"pointers": np.arange(N_ROWS + 1, dtype=np.int64) * 3 + 1},
        {"pointers": None},
        {"indices": None},
        {"values": np.ones(5, np.float32)},
        {"targets": np.ones(N_ROWS - 1, np.float32)},
        {"weights": np.ones(N_ROWS + 1, np.float32)},
        {"hot": np.ones(1, np.int32)},
        {"n_hot": -1},
        {"n_hot": N_FEATURES + 1},
    ],
)
def test_rows_of_other_shapes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        make_rows(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_features": 0},
        {"n_features": 7},
        {"n_features": N_ROWS * N_FEATURES + 1},
        {"values": None},
        {"values": np.ones(0, np.float32)},
        {"indices": np.zeros(N_ROWS * N_FEATURES, np.int32)},
        {"hot": np.zeros(N_ROWS, np.int32)},
    ],
)
def test_dense_rows_of_other_shapes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Rows(**{**dense_arrays(), **changes})


RANGES = [(-1, 3), (0, N_ROWS + 1), (5, 4), (-(2**62), 2**62), (2**62, 2**62), (N_ROWS + 1, 0)]


@pytest.mark.parametrize(("first", "last"), RANGES)
@pytest.mark.parametrize("make", [sparse_arrays, dense_arrays])
def test_rows_that_do_not_exist_are_refused(
    make: Callable[..., dict[str, Any]], first: int, last: int
) -> None:
    rows = Rows(**make())
    weight, curvature = np.zeros(N_FEATURES), np.zeros(N_FEATURES)
    largest, z = np.zeros(N_FEATURES, np.float32), np.zeros(N_ROWS, np.float32)
    parameters = np.zeros(N_FEATURES + 1, np.float32)
    rank = np.arange(N_FEATURES, dtype=np.int32)
    indices, hot = np.zeros(rows.n_elements, np.int32), np.zeros(N_ROWS, np.int32)
    values = np.zeros(rows.n_elements, np.float32)
    calls: list[Callable[[], object]] = [
        lambda: rows.find_fault(first, last),
        lambda: rows.count(first, last, True, weight, curvature),
        lambda: rows.count(first, last, True, None, None),
        lambda: rows.raise_largest(first, last, largest),
        lambda: rows.renumber(rank, 2, first, last, indices, values, hot),
        lambda: rows.margins(parameters, 1, 0, first, last, z),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"."):
            call()


@pytest.mark.parametrize("bad", [-1, N_FEATURES, -(2**31), 2**31 - 1])
def test_a_rank_that_is_no_feature_is_refused(bad: int) -> None:
    rows = make_rows()
    rank = np.arange(N_FEATURES, dtype=np.int32)
    rank[3] = bad
    out = np.zeros(rows.n_elements, np.int32), np.zeros(rows.n_elements, np.float32)
    with pytest.raises(ValueError, match=r"."):
        rows.renumber(rank, 2, 0, N_ROWS, *out, np.zeros(N_ROWS, np.int32))


@pytest.mark.parametrize("n_hot", [-1, N_FEATURES + 1, 2**40])
def test_more_hot_features_than_there_are_are_refused(n_hot: int) -> None:
    rows = make_rows()
    rank = np.arange(N_FEATURES, dtype=np.int32)
    out = np.zeros(rows.n_elements, np.int32), np.zeros(rows.n_elements, np.float32)
    with pytest.raises(ValueError, match=r"."):
        rows.renumber(rank, n_hot, 0, N_ROWS, *out, np.zeros(N_ROWS, np.int32))


def test_values_are_renumbered_where_the_rows_have_them_and_not_elsewhere() -> None:
    rank = np.arange(N_FEATURES, dtype=np.int32)
    for values, out_values in ((None, np.zeros(3 * N_ROWS, np.float32)), (..., None)):
        rows = make_rows() if values is ... else make_rows(values=None)
        indices, hot = np.zeros(rows.n_elements, np.int32), np.zeros(N_ROWS, np.int32)
        with pytest.raises(ValueError, match="values"):
            rows.renumber(rank, 2, 0, N_ROWS, indices, out_values, hot)


def test_half_of_a_pair_of_sums_is_refused() -> None:
    with pytest.raises(ValueError, match="weight and curvature"):
        make_rows().count(0, N_ROWS, True, np.zeros(N_FEATURES), None)


@pytest.mark.parametrize(
    ("n_outputs", "isa"),
    [(0, 0), (-1, 0), (2, 0), (15, 0), (17, 0), (2**40, 0), (1, -1), (1, len(isas())), (1, 99)],
)
def test_outputs_and_instruction_sets_that_do_not_exist_are_refused(
    n_outputs: int, isa: int
) -> None:
    size = max(1, min(n_outputs, 64))
    parameters = np.zeros((N_FEATURES + 1) * size, np.float32)
    with pytest.raises(ValueError, match=r"."):
        make_rows().margins(
            parameters, n_outputs, isa, 0, N_ROWS, np.zeros(N_ROWS * size, np.float32)
        )
