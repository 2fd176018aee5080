# SPDX-License-Identifier: BSD-3-Clause
"""Model files from strangers: a sound model, or a refusal that says what is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from hybridtrain.run import storage

Parts = dict[str, Any]
KINDS = ["logistic", "softmax", "squared", "scaled softmax", "scaled squared"]


def _model(kind: str = "logistic") -> ht.Result:
    X = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    loss: Any = kind.removeprefix("scaled ")
    if loss != kind:
        X = X * np.float32([1, 1e3, 1, 1]) + np.float32([0, 1e5, 0, 0])
    y = np.arange(60) % (3 if loss == "softmax" else 2)
    return ht.train(ht.Linear(loss=loss), (X, y), workers=1, epochs=2, validation=0.2)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Parts]:
    """What the files of some models hold, by kind."""
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for loss in KINDS:
        _model(loss).save(folder / loss)
        with np.load(folder / f"{loss}.npz") as file:
            found[loss] = dict(file)
    return found


def _story(**changes: Any) -> Callable[[Parts], None]:
    """Return what changes the story: NAME__KEY changes a key of NAME's object or first record."""

    def change(parts: Parts) -> None:
        story = json.loads(str(parts["story"]))
        for name, value in changes.items():
            outer, _, key = name.partition("__")
            if not key:
                story[outer] = value
            elif isinstance(story[outer], list):
                story[outer][0][key] = value
            else:
                story[outer][key] = value
        parts["story"] = np.array(json.dumps(story))

    return change


def _arrays(**arrays: Any) -> Callable[[Parts], None]:
    return lambda parts: parts.update(arrays)


def _without(name: str) -> Callable[[Parts], None]:
    return lambda parts: parts.__delitem__(name)


_F4 = np.float32
WRONG: dict[str, tuple[str, Callable[[Parts], None], str]] = {
    "no coef": ("logistic", _without("coef"), "expected an array 'coef'"),
    "no intercept": ("logistic", _without("intercept"), "expected an array 'intercept'"),
    "no story": ("logistic", _without("story"), "expected an array 'story'"),
    "no classes": ("logistic", _without("classes"), "two 'classes' for logistic loss, found None"),
    "classes of numbers": ("squared", _arrays(classes=np.arange(2)), "no 'classes' for squared"),
    "too many classes": (
        "softmax",
        _arrays(
            coef=np.zeros((5000, 4), _F4), intercept=np.zeros(5000, _F4), classes=np.arange(5000)
        ),
        "expected 2 to 1024 'classes' for softmax loss, found 5000",
    ),
    "three for a loss of two": ("logistic", _arrays(classes=np.arange(3)), "two 'classes'"),
    "one class": ("softmax", _arrays(classes=np.arange(1)), "2 to 1024 'classes'"),
    "classes as a matrix": ("logistic", _arrays(classes=np.ones((2, 1))), "numbers or text, found"),
    "complex classes": ("logistic", _arrays(classes=np.array([1j, 2])), "numbers or text, found"),
    "equal classes": ("logistic", _arrays(classes=np.array([1, 1])), "distinct and in order"),
    "classes not in order": ("logistic", _arrays(classes=np.array([2, 1])), "distinct and in"),
    "NaN as class": ("logistic", _arrays(classes=np.array([1, np.nan])), "distinct and in order"),
    "fewer rows of coef": (
        "softmax",
        _arrays(coef=np.zeros((2, 4), _F4)),
        "n_features), 3 classes",
    ),
    "coef of one class": ("softmax", _arrays(coef=np.zeros(4, _F4)), "'coef' of shape (n_classes,"),
    "coef of several": ("logistic", _arrays(coef=np.zeros((2, 4), _F4)), "of shape (n_features,)"),
    "coef as a number": ("logistic", _arrays(coef=np.array(1, _F4)), "of shape (n_features,)"),
    "no features": ("logistic", _arrays(coef=np.zeros(0, _F4)), "feature, found 0"),
    "more intercepts": (
        "softmax",
        _arrays(intercept=np.zeros(4, _F4)),
        "'intercept' of shape (3,)",
    ),
    "intercepts for one": ("logistic", _arrays(intercept=np.zeros(1)), "'intercept' of shape ()"),
    "coef of float64": ("logistic", _arrays(coef=np.zeros(4)), "'coef' of float32, found"),
    "coef of text": ("logistic", _arrays(coef=np.array(["a"])), "'coef' of float32, found"),
    "NaN in coef": ("logistic", _arrays(coef=np.full(4, np.nan, _F4)), "'coef' of finite numbers"),
    "infinity": ("softmax", _arrays(intercept=np.full(3, np.inf, _F4)), "'intercept' of finite"),
    "beyond float32": ("logistic", _arrays(intercept=np.array(1e300)), "'intercept' of finite"),
    "objects": ("logistic", _arrays(classes=np.array([{}, 1], object)), "holds Python objects"),
    "story of bytes": ("logistic", _arrays(story=np.array(b"{}")), "expected a text 'story'"),
    "no JSON": ("logistic", _arrays(story=np.array("{")), "Expecting property name"),
    "deep JSON": ("logistic", _arrays(story=np.array("[" * 99_999)), "RecursionError"),
    "a list": ("logistic", _arrays(story=np.array("[]")), "a JSON object in 'story', found 'list'"),
    "long numbers": ("logistic", _arrays(story=np.array("9" * 9999)), "Exceeds the limit"),
    "another format": (
        "logistic",
        _story(format="x-3"),
        "format 'hybridtrain-result-2', found 'x-3",
    ),
    "model is no object": ("logistic", _story(model=[1]), "'model' as a JSON object, found [1]"),
    "unknown loss": ("logistic", _story(model__loss="cubic"), "loss must be one of"),
    "loss as a list": ("logistic", _story(model__loss=["logistic"]), "loss must be one of"),
    "unknown setting": ("logistic", _story(model__l3=1), "l3"),
    "negative l2": ("logistic", _story(model__l2=-1), "l2 must be finite and >= 0"),
    "NaN as label": (
        "logistic",
        _story(model__class_weight=[[float("nan"), 1]]),
        "must name labels",
    ),
    "weights as text": ("logistic", _story(model__class_weight="all"), "class_weight must be None"),
    "weights of lists": ("logistic", _story(model__class_weight=[[[1], 1]]), "unhashable"),
    "settings as a list": ("logistic", _story(settings=[]), "'settings' as a JSON object"),
    "seed as text": ("logistic", _story(seed="0"), "a 'seed' in 0 .. 2**64 - 1, found '0'"),
    "seed below 0": ("logistic", _story(seed=-1), "a 'seed' in 0"),
    "seed of 65 bits": ("logistic", _story(seed=1 << 64), "a 'seed' in 0"),
    "seed as a truth": ("logistic", _story(seed=True), "a 'seed' in 0"),
    "history as an object": ("logistic", _story(history={}), "'history' as a list"),
    "records of numbers": ("logistic", _story(history=[1]), "'history[0]' as a JSON object"),
    "records of less": ("logistic", _story(ledger=[{}]), "'ledger[0]' of epoch, trained"),
    "records of more": ("logistic", _story(workers__pid=1), "'workers[0]' of worker, rows"),
    "epoch as text": ("logistic", _story(history__epoch="1"), "history[0].epoch to be a whole"),
    "rows below 0": ("logistic", _story(history__rows=-1), "rows to be a whole number >= 0"),
    "rows of 70 bits": ("logistic", _story(ledger__trained=1 << 70), "trained to be a whole"),
    "seconds below 0": ("logistic", _story(history__seconds=-1.0), "seconds to be seconds >= 0"),
    "no list of nodes": ("logistic", _story(nodes={}), "'nodes' as a list"),
    "a node without a name": ("logistic", _story(nodes=[{}]), "'nodes[0]' of name, address"),
    "endless seconds": ("logistic", _story(workers__waiting=float("inf")), "waiting to be seconds"),
    "loss as null": ("logistic", _story(history__loss=None), "loss to be a number, found None"),
    "loss as text": ("logistic", _story(history__validation_loss="1"), "to be a number or null"),
    "reason as a number": ("logistic", _story(ledger__reason=1), "reason to be text"),
    "counts as a number": ("logistic", _story(staleness__counts=1), "counts to be a list of whole"),
    "counts of text": ("logistic", _story(staleness__counts=["1"]), "counts to be a list of whole"),
    "centre of float32": ("scaled squared", _arrays(centre=np.zeros(4, _F4)), "4 float64 as 'cen"),
    "a shorter scale": ("scaled squared", _arrays(scale=np.ones(3)), "4 float64 as 'scale', found"),
    "a scale of 0": ("scaled softmax", _arrays(scale=np.zeros(4)), "'scale' above 0"),
    "NaN as centre": ("scaled squared", _arrays(centre=np.full(4, np.nan)), "'centre' of finite"),
    "scaling as a list": ("scaled squared", _story(scaling=[]), "'scaling' as a JSON object"),
    "target as text": ("scaled squared", _story(scaling__target="1"), "a finite target and a"),
    "endless target": ("squared", _story(scaling={"target": 1e999, "reason": ""}), "finite target"),
    "scaling of classes": (
        "logistic",
        _story(scaling={"target": 1.0, "reason": ""}),
        "no target in 'scaling' for logistic loss",
    ),
    "staleness in place": ("logistic", _story(staleness_in_place=3), "'staleness_in_place' as a"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_no_sound_model_is_refused_with_what_is_wrong(
    fault: str, parts: dict[str, Parts], tmp_path: Path
) -> None:
    loss, spoil, says = WRONG[fault]
    wrong = dict(parts[loss])
    spoil(wrong)
    np.savez(tmp_path / "model.npz", **wrong)
    with pytest.raises(ht.InvalidDataError) as caught:
        ht.load(tmp_path / "model.npz")
    start = f"{tmp_path / 'model.npz'} is not a file that Result.save of this version wrote: "
    assert str(caught.value).startswith(start)
    assert says in str(caught.value)


def _same_predictions(path: Path, loss: str) -> bool:
    X = np.random.default_rng(1).standard_normal((9, 4)).astype(np.float32)
    return np.array_equal(ht.load(path).decision_function(X), _model(loss).decision_function(X))


@pytest.mark.parametrize("loss", KINDS)
@pytest.mark.parametrize("order", [">", "<"])
def test_arrays_of_another_byte_order_or_layout_are_the_same_model(
    loss: str, order: str, parts: dict[str, Parts], tmp_path: Path
) -> None:
    path = tmp_path / "model.npz"
    np.savez(
        path,
        **{
            name: np.asarray(array, array.dtype.newbyteorder(order), order="F")
            for name, array in parts[loss].items()
        },
    )
    loaded = ht.load(path)
    assert loaded.params["coef"].dtype == np.dtype(np.float32)
    assert loaded.params["coef"].flags.c_contiguous
    assert _same_predictions(path, loss)


def test_files_of_models_without_scaling_are_read(parts: dict[str, Parts], tmp_path: Path) -> None:
    assert "scaling" not in json.loads(str(parts["logistic"]["story"]))
    assert not {"centre", "scale"} & set(parts["logistic"])
    np.savez(tmp_path / "model.npz", **parts["logistic"])
    assert ht.load(tmp_path / "model.npz").scaling is None


@pytest.mark.parametrize("kind", ["scaled softmax", "scaled squared"])
def test_a_scaled_model_predicts_the_same_once_it_is_read(kind: str, tmp_path: Path) -> None:
    result = _model(kind)
    result.save(tmp_path / "model.npz")
    loaded = ht.load(tmp_path / "model.npz")
    assert result.scaling is not None
    assert loaded.scaling is not None
    assert loaded.scaling.summary() == result.scaling.summary() == result.settings["scale"]
    X = np.random.default_rng(1).standard_normal((9, 4)) * [1, 1e5, 1, 1]
    assert np.array_equal(loaded.predict(X), result.predict(X))
    assert loaded.decision_function(X).dtype == result.decision_function(X).dtype


def test_members_that_are_not_known_are_left_alone(parts: dict[str, Parts], tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", **parts["logistic"], more=np.array([{}], object))
    assert _same_predictions(tmp_path / "model.npz", "logistic")


def test_a_model_through_a_pipe_is_read_whole(tmp_path: Path) -> None:
    _model().save(tmp_path / "model.npz")
    os.mkfifo(tmp_path / "pipe")
    content = (tmp_path / "model.npz").read_bytes()
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(content))
    writer.start()
    try:
        assert _same_predictions(tmp_path / "pipe", "logistic")
    finally:
        writer.join(10)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom"])
def test_a_device_is_no_model(device: str) -> None:
    with pytest.raises(ht.InvalidDataError, match=f"{device} is not a file .*: it is a device"):
        ht.load(device)


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"", r"expected an archive, which begins with b'PK"),
        (b"PK\x03\x04", r"more than 1,048,576 b"),
    ],
    ids=["zeros", "an archive"],
)
def test_a_pipe_without_end_is_refused(
    start: bytes, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_MOST_PIPED", 1 << 20)
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), (tmp_path / "pipe").open("wb", 0) as pipe:
            pipe.write(start)
            while True:
                pipe.write(bytes(1 << 16))

    writer = threading.Thread(target=write)
    writer.start()
    tracemalloc.start()
    try:
        with pytest.raises(ht.InvalidDataError, match=says):
            ht.load(tmp_path / "pipe")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        writer.join(10)
    assert peak < 8 << 20


def test_a_model_that_does_not_fit_into_memory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise MemoryError

    _model().save(tmp_path / "model.npz")
    monkeypatch.setattr(storage, "read_npz", refuse)
    with pytest.raises(ht.OutOfMemoryError, match=r"loading .*model\.npz needs more memory"):
        ht.load(tmp_path / "model.npz")


@pytest.mark.parametrize(("name", "read"), [("model.npz", ht.load), ("rows.npz", ht.read_data)])
def test_what_a_broken_file_says_of_itself_is_shortened(
    name: str, read: Callable[[Path], object], parts: dict[str, Parts], tmp_path: Path
) -> None:
    np.savez(tmp_path / name, story=parts["softmax"]["story"], more=np.zeros(9999))
    content = bytearray((tmp_path / name).read_bytes())
    content[26:28] = (1 << 14).to_bytes(2, "little")  # the length of the first member's name
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        ht.InvalidDataError, match=f"{name} is no.* File name in directory"
    ) as caught:
        read(tmp_path / name)
    assert len(str(caught.value)) < 1000


# ---- archives that claim more than they hold


def _npy(shape: str, dtype: str = "<f4", content: bytes = bytes(16), version: int = 1) -> bytes:
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(2, "little") + header + content


def _replaced(path: Path, name: str, content: bytes, compression: int) -> None:
    """Write the archive again with another member."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members[f"{name}.npy"] = content
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member, held in members.items():
            archive.writestr(member, held)


BOMBS = {
    "a huge shape": (_npy("(1099511627776,)"), "must have 4398046511104 bytes for its shape"),
    "many dimensions": (_npy("(9999, 9999, 9999, 9999)"), "coef must have"),
    "a shape that overflows": (_npy(f"({1 << 62}, 4)"), "coef must have"),
    "a shape below 0": (_npy("(-4,)"), "it has the shape (-4,)"),
    "less than it holds": (_npy("(3,)"), "coef must have 12 bytes for its shape (3,), it has 16"),
    "elements of no size": (_npy("(99999999999,)", "<U0", b""), "type <U0"),
    "objects": (_npy("(2,)", "|O"), "it holds Python objects"),
    "a header that is no header": (_npy("__import__('os')"), "malformed"),
    "a deep header": (_npy("(" * 900 + ")" * 900), ""),
    "a version of the future": (_npy("(4,)", version=9), "version (9, 0)"),
    "not an array": (b"hello", "EOF"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_an_array_that_claims_another_size_is_refused_before_memory_is_taken(
    bomb: str, tmp_path: Path
) -> None:
    content, says = BOMBS[bomb]
    _model().save(tmp_path / "model.npz")
    _replaced(tmp_path / "model.npz", "coef", content, zipfile.ZIP_STORED)
    tracemalloc.start()
    with pytest.raises(ht.InvalidDataError) as caught:
        ht.load(tmp_path / "model.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert says in str(caught.value)
    assert peak < 8 << 20


def test_a_packed_member_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    _model().save(tmp_path / "model.npz")
    zeros = _npy("(16777216,)", content=bytes(64 << 20))
    _replaced(tmp_path / "model.npz", "coef", zeros, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "model.npz").stat().st_size < 1 << 20
    del zeros
    tracemalloc.start()
    with pytest.raises(ht.InvalidDataError, match="it must not be compressed"):
        ht.load(tmp_path / "model.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_model_cut_short_or_with_changed_bytes_is_refused_or_sound(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    _model("softmax").save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    refused = 0
    for cut in rng.integers(0, len(whole), 60).tolist():
        path.write_bytes(whole[:cut])
        with pytest.raises(ht.InvalidDataError):
            ht.load(path)
    for place in rng.integers(0, len(whole), 400).tolist():
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            result = ht.load(path)
        except ht.InvalidDataError:
            refused += 1
        else:
            assert result.predict_proba(np.ones((3, 4), np.float32)).shape == (3, 3)
    assert refused > 200
