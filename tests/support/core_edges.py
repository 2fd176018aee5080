# SPDX-License-Identifier: BSD-3-Clause
"""Few rows and small runs of the core, of which a test changes one thing."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridtrain._core.rows import Rows
from hybridtrain._core.stream import Stream
from hybridtrain._core.sync import SyncRun

N_ROWS, N_FEATURES = 40, 6
_COMMON: dict[str, Any] = {
    "loss": 0, "n_classes": 0, "optimizer": 0, "l1": 0.0, "l2": 0.0, "decay1": 0.9,
    "decay2": 0.99, "beta": 1.0, "isa": 0, "n_workers": 2, "intercept": True, "seed": 0,
    "averages_per_epoch": 0, "lrs_per_epoch": 2,
    "lrs": np.full(6, 0.1, np.float32), "inverse_share": None,
}  # fmt: skip


def sparse_arrays(**changes: Any) -> dict[str, Any]:
    """Sparse rows of three elements each, and what a test changes about them."""
    random = np.random.default_rng(0)
    indices = np.sort([random.permutation(N_FEATURES)[:3] for _ in range(N_ROWS)], axis=1)
    arrays = {
        "n_features": N_FEATURES,
        "pointers": np.arange(N_ROWS + 1, dtype=np.int64) * 3,
        "indices": indices.astype(np.int32).ravel(),
        "values": np.ones(3 * N_ROWS, np.float32),
        "targets": np.where(np.arange(N_ROWS) % 2, 1, -1).astype(np.float32),
    }
    return {**arrays, **changes}


def dense_arrays(**changes: Any) -> dict[str, Any]:
    values = np.ones(N_ROWS * N_FEATURES, np.float32)
    return sparse_arrays(pointers=None, indices=None, values=values, **changes)


def make_rows(**changes: Any) -> Rows:
    return Rows(**sparse_arrays(**changes))


def open_stream(rows: Rows | None = None, **changes: Any) -> Stream:
    settings = {
        **_COMMON, "rows_in_flight": 1, "every": 0, "exact": False, "n_hot": 0, "strips": 1,
        "curvature": None, **changes,
    }  # fmt: skip
    return Stream(make_rows() if rows is None else rows, **settings)


def open_sync(rows: Rows | None = None, **changes: Any) -> SyncRun:
    settings = {
        **_COMMON, "exact": True, "task_rows": 4, "batch_tasks": 2, "scales": None,
        "largest_value": 1.0, "bound": 1.5, "is_bounded": True, **changes,
    }  # fmt: skip
    return SyncRun(make_rows() if rows is None else rows, **settings)
