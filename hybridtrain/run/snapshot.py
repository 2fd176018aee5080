# SPDX-License-Identifier: BSD-3-Clause
"""The state of a run as one value, from which another run goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from hybridtrain._core import state
from hybridtrain.data.arrays import Floats
from hybridtrain.plan.base import Plan, Run
from hybridtrain.run.identity import Identity

Parameters = tuple[Floats, Any]  # coef and intercept, in the coordinates of the problem

_START = b"hybridtrain checkpoint 1\n"
_LENGTH = 8  # bytes of the length of the story
_MOST_STORY = 1 << 28  # bytes
_PARTS = ("identity", "job", "numbers", "shapes")
_JOB: dict[str, Any] = {  # what a job remembers, and of which type
    "parts": list,
    "course": dict,
    "epoch_seconds": float,
    "ended": str,
}
_DTYPES: dict[str, np.dtype[Any]] = {
    "arrays": np.dtype("<f4"),
    "done": np.dtype("u1"),
    "best": np.dtype("<f4"),
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Hold what a run remembers between two steps, or between two chunks of the stream.

    Attributes
    ----------
    identity : dict
        Which run it is; see `identity_of`.
    job : dict
        What the job remembers: records, rates, what ended it. JSON values.
    numbers : dict
        What the core remembers, beside its arrays.
    arrays : float32 array (n_arrays, n_features + 1, n_outputs)
        Parameters, state of the optimizer, average; the intercept first, then the features
        in the user's order.
    done : uint8 array
        Of the stream: which chunks of the open epoch were trained.
    best : float32 array (1, n_features + 1, n_outputs) or None
        The parameters of the best epoch so far.
    """

    identity: Identity
    job: dict[str, Any]
    numbers: dict[str, Any]
    arrays: Floats
    done: npt.NDArray[np.uint8]
    best: Floats | None

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Return the bytes of the snapshot, a piece at a time."""
        arrays: dict[str, npt.NDArray[Any]] = {"arrays": self.arrays, "done": self.done}
        if self.best is not None:
            arrays["best"] = self.best
        story = {
            "identity": self.identity,
            "job": self.job,
            "numbers": self.numbers,
            "shapes": {name: array.shape for name, array in arrays.items()},
        }
        told = json.dumps(story).encode()
        yield _START + len(told).to_bytes(_LENGTH, "little")
        yield told
        for name, array in arrays.items():
            yield np.ascontiguousarray(array, _DTYPES[name]).data.cast("B")


def read_snapshot(file: BinaryIO, nbytes: int) -> Snapshot:
    """Read what `Snapshot.pieces` gave, from a file of which nbytes are the snapshot's.

    Raises
    ------
    ValueError
        When the file holds something else, or a part of it.
    """
    start = file.read(len(_START))
    if start != _START:
        raise ValueError(f"a start of {_START!r} expected, found {start!r}")
    length = int.from_bytes(file.read(_LENGTH), "little")
    if length > min(nbytes, _MOST_STORY):
        raise ValueError(f"its text has {length} bytes, more than the file")
    story = json.loads(file.read(length))
    if not all(isinstance(story[part], dict) for part in _PARTS):
        raise ValueError(f"objects expected as {', '.join(_PARTS)}")
    for name, kind in _JOB.items():
        if not isinstance(story["job"][name], kind):
            raise ValueError(f"its {name!r} is {story['job'][name]!r}")
    left = nbytes - len(_START) - _LENGTH - length
    arrays: dict[str, Any] = {"best": None}
    for name, shape in story["shapes"].items():
        if any(not isinstance(n, int) or n < 0 for n in shape):
            raise ValueError(f"{name!r} has the shape {shape}")
        nbytes_of_array = math.prod(shape) * _DTYPES[name].itemsize
        left -= nbytes_of_array
        if left < 0:
            raise ValueError(f"{name!r} of shape {shape} is larger than the file")
        content = bytearray(file.read(nbytes_of_array))
        arrays[name] = np.frombuffer(content, _DTYPES[name]).reshape(shape)
    if left != 0:
        raise ValueError(f"{left} bytes more than it says")
    return Snapshot(story["identity"], story["job"], story["numbers"], **arrays)


def take(
    run: Run, plan: Plan, identity: Identity, job: dict[str, Any], best: Parameters | None
) -> Snapshot | None:
    """Copy the state of a run, whose workers rest; None if it is not finite.

    best: coef and intercept of the best epoch so far.
    """
    n_arrays, n_chunks = state.sizes(run)
    arrays = np.empty((n_arrays, run.n_parameters), np.float32)
    done = np.zeros(max(n_chunks, 1), np.uint8)[:n_chunks]
    numbers = state.save(run, arrays, done)
    if not np.isfinite(arrays).all():
        return None
    arrays = in_users_order(arrays, plan)
    kept = None if best is None else in_users_order(plan.to_trained(*best), plan)
    return Snapshot(identity, job, numbers, arrays, done, kept)


def put(run: Run, plan: Plan, snapshot: Snapshot) -> Parameters | None:
    """Make a run that was just opened go on from a snapshot; return the best parameters.

    Raises
    ------
    ValueError
        When the snapshot is not of such a run.
    """
    parts = [part for part in (snapshot.arrays, snapshot.best) if part is not None]
    are_finite = all(np.isfinite(value).all() for value in snapshot.numbers.values())
    if not (are_finite and all(np.isfinite(part).all() for part in parts)):
        raise ValueError("there are numbers that are not finite")
    arrays = _renumbered(snapshot.arrays, plan)
    state.restore(run, snapshot.numbers, arrays, snapshot.done)
    if snapshot.best is None:
        return None
    return plan.from_trained(_renumbered(snapshot.best, plan)[0])


def in_users_order(arrays: Floats, plan: Plan) -> Floats:
    """Return arrays of a run as (n_arrays, n_features + 1, n_outputs), in the user's order."""
    n_rows, order = plan.rows.shape[1] + 1, plan.order
    rows = arrays.reshape(-1, n_rows, arrays.shape[-1] // n_rows)
    if order is None:
        return rows
    result = np.empty_like(rows)
    result[:, 0], result[:, 1 + order] = rows[:, 0], rows[:, 1:]
    return result


def _renumbered(rows: Floats, plan: Plan) -> Floats:
    """Return arrays in the run's order of features, each in one row."""
    if plan.order is not None:
        rows = np.concatenate([rows[:, :1], rows[:, 1 + plan.order]], axis=1)
    return np.ascontiguousarray(rows).reshape(len(rows), -1)
