# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints: a sound one with bytes, a number of its text, or an array changed."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.contract import Allowed, UnsoundError, building, check_model, require
from fuzz.draw import Draw
from fuzz.model_files import VALUES, damaged
from fuzz.ways import RUN

import hybridtrain as ht
from hybridtrain.run.snapshot import _LENGTH, _START

_STRATEGIES = ("sync", "hybrid", "hogwild", "hybrid(hot=2)")


def _rows() -> tuple[Any, Any]:
    X = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    return X, X[:, 0] > 0


def _settings(strategy: str, optimizer: str) -> dict[str, Any]:
    known = {"validation": 0.2, "patience": 1, "epochs": 4, "optimizer": optimizer}
    return {**RUN, **known, "strategy": strategy}


@functools.cache
def _saved(strategy: str, optimizer: str, folder: str) -> bytes:
    """Return the checkpoint of a run that was interrupted; trained once in a process."""

    def interrupt(record: ht.EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    place = Path(folder) / "run"
    try:
        settings = _settings(strategy, optimizer)
        ht.train(ht.Linear(), _rows(), checkpoint=place, callbacks=[interrupt], **settings)
    except ht.TrainingInterrupted:
        (file,) = place.iterdir()
        content = file.read_bytes()
        file.unlink()
        place.rmdir()
        return content
    raise UnsoundError("the run was not interrupted")


def change_leaf(draw: Draw, told: Any) -> Any:
    """Return JSON with one of its values changed."""
    if isinstance(told, dict) and told and draw.chance(0.95):
        key = draw.one(list(told))
        draw.note(key)
        if draw.chance(0.05):
            return {name: value for name, value in told.items() if name != key}
        return {**told, key: change_leaf(draw, told[key])}
    if isinstance(told, list) and told and draw.chance(0.9):
        at = draw.below(len(told))
        return [*told[:at], change_leaf(draw, told[at]), *told[at + 1 :]]
    return draw.one(VALUES)


def _changed(draw: Draw, content: bytes) -> bytes:
    """Return a checkpoint whose hash is right and whose content is not."""
    at = len(_START) + _LENGTH
    length = int.from_bytes(content[len(_START) : at], "little")
    story = json.loads(content[at : at + length])
    arrays = bytearray(content[at + length : -hashlib.sha256().digest_size])
    if draw.chance(0.7):
        part = draw.one(["job", "numbers", "shapes", "identity"])
        draw.note(part)
        story[part] = change_leaf(draw, story[part])
    else:
        first = draw.below(len(arrays))
        arrays[first : first + 4] = draw.randbytes(4)
    told = json.dumps(story).encode()
    whole = _START + len(told).to_bytes(_LENGTH, "little") + told + bytes(arrays)
    return whole + hashlib.sha256(whole).digest()


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make a checkpoint, and go on with it."""
    strategy, optimizer = draw.one(_STRATEGIES), draw.one(["adagrad", "sgd(average=True)"])
    draw.note(strategy)
    content = _saved(strategy, optimizer, str(place))
    file = place / draw.one(["000001.checkpoint", "any"])
    with building():
        change = damaged if draw.chance(0.3) else _changed
        file.write_bytes(change(draw, content))

    def go_on() -> str:
        rows = _rows()
        result = ht.train(ht.Linear(), rows, resume=file, **_settings(strategy, optimizer))
        check_model(result, rows[0], trained=False)
        for k, entry in enumerate(result.ledger, 1):
            require(entry.epoch == k, f"epoch {entry.epoch} at {k}")
            require(entry.trained + entry.dropped == 48, f"ledger {entry}")
            require(0 <= entry.repeated <= 48, f"ledger {entry}")
        return "sound"

    return go_on, Allowed()
