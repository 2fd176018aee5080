# SPDX-License-Identifier: BSD-3-Clause
"""Records of runs: a sound one with bytes, a value of its text, or its pieces changed."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.checkpoints import change_leaf
from fuzz.contract import Allowed, building, check_model
from fuzz.draw import Draw
from fuzz.model_files import damaged
from fuzz.ways import RUN

import hybridtrain as ht
from hybridtrain.observe.recording import _HEADER, _PIECE, _START, _pieces

_N_ROWS = 700
_STRATEGIES = ("async(every=3)", "async(every=9, staleness=0)", "hybrid(hot=1.0, every=5)")


def _rows() -> tuple[Any, Any]:
    X = np.random.default_rng(0).standard_normal((_N_ROWS, 4)).astype(np.float32)
    return X, X[:, 0] > 0


@functools.cache
def _recorded(strategy: str, backend: str, folder: str) -> bytes:
    """Return the record of a run; trained once in a process."""
    file = Path(folder) / "run.htr"
    kill = ht.chaos.Kill(at="chunk_begun", step=20)
    chaos = ht.chaos.Plan([kill] if backend == "processes" else [])
    settings = {**RUN, "strategy": strategy, "workers": 2, "backend": backend, "chaos": chaos}
    ht.train(ht.Linear(), _rows(), record=file, optimizer="adagrad", **settings)
    content = file.read_bytes()
    file.unlink()
    return content


def _changed(draw: Draw, content: bytes) -> bytes:
    """Return a record whose hash is right and whose content is not."""
    body = memoryview(content)[len(_START) : -hashlib.sha256().digest_size]
    pieces = [(kind, number, bytes(part)) for kind, number, part in _pieces(body)]
    at = 0 if draw.chance(0.3) else draw.below(len(pieces))
    kind, number, part = pieces[at]
    draw.note(str(kind))
    if draw.chance(0.2):
        kind, number = draw.one([(kind, number + 1), (kind + 1, number), (9, 1 << 31)])
    elif kind in (_HEADER, pieces[-1][0]):
        part = json.dumps(change_leaf(draw, json.loads(part))).encode()
    elif draw.chance(0.3):
        part = draw.one([part[:-3], part + part, b""])
    elif part:
        first = draw.below(len(part))
        part = part[:first] + draw.randbytes(4) + part[first + 4 :]
    pieces[at] = kind, number, part
    if draw.chance(0.2):  # nothing says which bits the run had
        pieces[-1] = (*pieces[-1][:2], b'{"ended": ""}')
    whole = _START + b"".join(_PIECE.pack(k, n, len(p)) + p for k, n, p in pieces)
    return whole + hashlib.sha256(whole).digest()


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make a record, and replay it."""
    strategy = draw.one(_STRATEGIES)
    draw.note(strategy)
    content = _recorded(strategy, draw.one(["threads", "processes"]), str(place))
    file = place / "run.htr"
    until = draw.one([None, None, (1, 300), (2, 10)])
    with building():
        change = damaged if draw.chance(0.3) else _changed
        file.write_bytes(change(draw, content))

    def play() -> str:
        result = ht.replay(file, _rows(), until=until)
        if until is None:
            check_model(result, trained=False)
        return "sound"

    return play, Allowed()
