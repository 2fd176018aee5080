# SPDX-License-Identifier: BSD-3-Clause
"""Dask collections, told from arrays without an import of Dask."""

from __future__ import annotations

from typing import Any


def is_collection(value: Any) -> bool:
    """Whether a value is a Dask collection: an array, a frame, a bag, a delayed call."""
    kind = type(value)
    return hasattr(kind, "__dask_graph__") and hasattr(kind, "__dask_keys__")
