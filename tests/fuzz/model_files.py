# SPDX-License-Identifier: BSD-3-Clause
"""Model files: a sound one with an array, the story, or bytes changed."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import arrays
from fuzz.contract import Allowed, building, check_model, fingerprint, require
from fuzz.draw import Draw
from fuzz.ways import RUN

import hybridtrain as ht

_N_FEATURES = 4
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 2**31, 2**63, 2**70, 0.5, -0.5, 1e308, 1e-320),
    *(float("nan"), float("inf"), "", "x", "softmax", "logistic", "squared", "balanced", "1"),
    *([], [1], [[]], [None], {}, {"a": 1}, "x" * 10_000, [[0, 1], [1, 2]], [["a", 1]] * 3),
)


@functools.cache
def _saved(loss: str, folder: str) -> bytes:
    """Return the file of a model; trained once in a process."""
    X = np.random.default_rng(0).standard_normal((30, _N_FEATURES)).astype(np.float32)
    n_classes = 3 if loss == "softmax" else 2
    y: Any = np.arange(30) % n_classes
    classes: dict[str, Any] = {}
    if loss in ("squared", "huber"):
        y = X[:, 0] * 2
    elif loss == "logistic":
        y, classes = np.array(["a", "b"])[y], {"class_weight": {"a": 1.0, "b": 2.0}}
    model = ht.Linear(loss=loss, **classes)
    file = Path(folder) / f"{loss}.npz"
    ht.train(model, (X, y), validation=0.2, **{**RUN, "strategy": "hybrid"}).save(file)
    content = file.read_bytes()
    file.unlink()
    return content


def members_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(members: dict[str, bytes], draw: Draw) -> bytes:
    file = io.BytesIO()
    packed = zipfile.ZIP_DEFLATED if draw.chance(0.2) else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", packed) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return file.getvalue()


def npy(array: Any) -> bytes:
    """Return an array as the bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=False)
    return file.getvalue()


def _array(data: bytes) -> Any:
    return np.load(io.BytesIO(data), allow_pickle=False)


# ---- what is changed; each returns the file


def _change_array(draw: Draw, members: dict[str, bytes]) -> bytes:
    names = [name for name in members if not name.startswith("story")]
    name = draw.one(names)
    array = arrays.faulty(draw, _array(members[name])) if draw.chance(0.8) else draw.one(VALUES)
    draw.note(name)
    array = np.asarray(array)
    if array.dtype == object or array.nbytes > 1 << 24:
        array = np.zeros((draw.below(3), 5000))
    members[name] = npy(np.ma.getdata(array))
    return zipped(members, draw)


def _many_classes(draw: Draw, members: dict[str, bytes]) -> bytes:
    n_classes = draw.one([1, 2, 4, 1023, 1024, 1025, 2000, 20_000])
    draw.note(n_classes)
    n_features = draw.one([_N_FEATURES, _N_FEATURES, 0, 1, 7])
    shape = (n_classes, n_features)
    members["coef.npy"] = npy(np.ones(shape, draw.one(["f4", "f4", "f8"])))
    members["intercept.npy"] = npy(np.zeros(n_classes, np.float32))
    if draw.chance(0.8):
        members["classes.npy"] = npy(np.arange(n_classes))
    return zipped(members, draw)


def _drop_or_add(draw: Draw, members: dict[str, bytes]) -> bytes:
    name = draw.one(list(members))
    if draw.chance(0.5):
        draw.note(f"without {name}")
        del members[name]
    else:
        added = draw.one(["more.npy", "classes.npy", "story", "../../outside.npy", "/abs.npy", ""])
        draw.note(f"more {added}")
        members[added or "x"] = draw.one([b"", b"x", members[name], npy(np.arange(3))])
    return zipped(members, draw)


def _change_story(draw: Draw, members: dict[str, bytes]) -> bytes:
    story: Any = json.loads(str(_array(members["story.npy"])))
    parent: Any = None
    key: Any = None
    node: Any = story
    path = []
    while isinstance(node, dict | list) and node and (parent is None or draw.chance(0.8)):
        parent, key = node, draw.one(list(node) if isinstance(node, dict) else range(len(node)))
        path.append(str(key))
        node = node[key]
    draw.note(".".join(path))
    how = draw.one(["value", "value", "value", "removed", "added"])
    draw.note(how)
    if how == "value":
        parent[key] = draw.one(VALUES)
        draw.note(repr(parent[key])[:40])
    elif how == "removed":
        del parent[key]
    elif isinstance(parent, dict):
        parent[draw.one(["more", "", "self", "__class__"])] = draw.one(VALUES)
    else:
        parent.append(draw.one([draw.one(VALUES), node]))
    members["story.npy"] = npy(np.array(json.dumps(story)))
    return zipped(members, draw)


def _other_story(draw: Draw, members: dict[str, bytes]) -> bytes:
    text = str(_array(members["story.npy"]))
    story = draw.one(
        [
            *("", "null", "3", "[]", '"x"', "{}", "[" * 5000, '{"a":' * 5000, text[:-1], text * 2),
            *(text.replace("hybridtrain-result", "other"), text.replace(":", ": NaN,", 1)),
        ]
    )
    form = draw.one([np.array(story), np.array([story]), np.array(story.encode()), np.zeros(3)])
    members["story.npy"] = npy(form)
    return zipped(members, draw)


def _declare(draw: Draw, members: dict[str, bytes]) -> bytes:
    """Change the header of an array: it declares another shape, type or order."""
    name = draw.one(list(members))
    members[name] = redeclared(draw, members[name])
    draw.note(name)
    return zipped(members, draw)


def redeclared(draw: Draw, data: bytes) -> bytes:
    """Return a .npy file whose header says something else than its content."""
    array = _array(data)
    shape: Any = draw.one(
        [
            *((10**12,), (2**62,), (2**33, 2**33), (-1,), (0,), (), (3, -3), (10**30,)),
            *((array.size + 1,), (max(array.size - 1, 0),), (array.size, 1), array.shape),
            *("x", None, (1.5,), ("3",), [3], (True,)),
        ]
    )
    descr: Any = draw.one(
        [array.dtype.str, array.dtype.str, "<f8", "|O", "<i2", "|V0", "x", "<U999999999", "", None]
    )
    fields = {"descr": descr, "fortran_order": draw.one([False, True, 3, None]), "shape": shape}
    if draw.chance(0.1):
        del fields[draw.one(list(fields))]
    header = draw.one([repr(fields), repr(fields), "{", "", "[]", repr(fields)[:-3], "f()"])
    draw.note(header[:120])
    text: bytes = header.encode("latin-1", "replace").ljust(117) + b"\n"
    begin = draw.one([b"\x93NUMPY\x01\x00"] * 4 + [b"\x93NUMPY\x03\x00", b"\x93NUMPY\x09\x00"])
    width = 2 if begin[6] == 1 else 4
    return begin + len(text).to_bytes(width, "little") + text + array.tobytes()


_CHANGES: dict[str, Callable[[Draw, dict[str, bytes]], bytes]] = {
    "array": _change_array,
    "classes": _many_classes,
    "members": _drop_or_add,
    "story": _change_story,
    "part of the story": _change_story,
    "another story": _other_story,
    "declared": _declare,
}


def damaged(draw: Draw, content: bytes) -> bytes:
    """Return bytes that are cut, flipped, doubled or put together from parts."""
    at = draw.below(len(content))
    if draw.chance(0.3):  # where the directory of a zip file stands, or the header
        at = draw.one([min(at, 200), max(len(content) - 1 - draw.below(400), 0)])
    changes: dict[str, Callable[[], bytes]] = {
        "cut": lambda: content[:at],
        "begin lost": lambda: content[at:],
        "bit": lambda: content[:at] + bytes([content[at] ^ 1 << draw.below(8)]) + content[at + 1 :],
        "bytes": lambda: content[:at] + draw.randbytes(8) + content[at + 8 :],
        "zeros": lambda: content[:at] + bytes(64) + content[at + 64 :],
        "doubled": lambda: content + content,
        "trailing": lambda: content + draw.randbytes(draw.randint(1, 99)),
        "leading": lambda: draw.randbytes(draw.randint(1, 99)) + content,
        "empty": lambda: b"",
        "random": lambda: draw.randbytes(draw.randint(1, 999)),
    }
    return draw.named(changes)()


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make a file, load it, and do all that a model can."""
    loss = draw.one(["logistic", "softmax", "squared", "huber", "hinge"])
    draw.note(loss)
    content = _saved(loss, str(place))
    file = place / draw.one(["model.npz", "model", "model.txt"])
    with building():
        if draw.chance(0.3):
            file.write_bytes(damaged(draw, content))
        else:
            file.write_bytes(draw.named(_CHANGES)(draw, members_of(content)))
    if draw.chance(0.02):
        file.unlink()
        draw.one([file.mkdir, lambda: None])()
    X = np.random.default_rng(1).standard_normal((9, _N_FEATURES)).astype(np.float32)
    return lambda: _use(file, X, place), Allowed(missing_files=not file.is_file())


def _use(file: Path, X: Any, place: Path) -> str:
    result = ht.load(file)
    check_model(result, trained=False)
    _check_types(result)
    n_features = result.params["coef"].shape[-1]
    require(n_features >= 1, "a model of no features is loaded")
    rows = np.resize(X, (9, n_features))
    check_model(result, rows, trained=False)
    repr(result), result.staleness.mean, result.staleness.quantile(0.5)
    again = place / "again.npz"
    result.save(again)
    copy = ht.load(again)
    require(fingerprint(copy) == fingerprint(result), "saved and loaded, the model is another")
    require(copy.model == result.model, "saved and loaded, the settings are others")
    if result.classes is not None:
        labels = result.classes[np.arange(9) % len(result.classes)]
        result.score(rows, labels)
    else:
        labels = np.arange(9.0)
    trained = ht.train(result.model, (rows, labels), init=result, **RUN)
    check_model(trained, rows)
    return "sound"


def _check_types(result: ht.Result) -> None:
    """Require what the attributes promise: numbers are numbers, texts are texts."""
    records: list[Any] = [*result.history, *result.ledger, *result.workers, result.staleness]
    for record in records:  # those of staleness that others hold join at the end
        for name in record.__slots__:
            value = getattr(record, name)
            if name == "staleness" and (value is None or isinstance(value, ht.Staleness)):
                records += [] if value is None else [value]
                continue
            is_text = name in ("reason", "ended", "source")
            expected: Any = str if is_text else int | float
            if name == "counts":
                is_counts = all(type(count) is int and count >= 0 for count in value)
                require(is_counts, f"counts are {value!r}"[:200])
                continue
            if name == "deaths":
                are_texts = type(value) is tuple and all(type(each) is str for each in value)
                require(are_texts, f"deaths are {value!r}"[:200])
                continue
            if name == "validation_loss" and value is None:
                continue
            says = f"{type(record).__name__}.{name} is {value!r}"[:200]
            require(isinstance(value, expected) and not isinstance(value, bool), says)
    require(isinstance(result.settings, dict), f"settings are {result.settings!r}"[:200])
    require(isinstance(result.seed, int), f"seed is {result.seed!r}"[:200])
