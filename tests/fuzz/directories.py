# SPDX-License-Identifier: BSD-3-Clause
"""Directories of .npy files: one file wrong in one way; indices that change while rows are read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import arrays, reading
from fuzz.contract import Allowed, building, check_model, fingerprint, outcome_of, require
from fuzz.draw import Draw, dense_rows, sparse_rows, two_classes
from fuzz.model_files import damaged, npy, redeclared
from fuzz.ways import RUN as SETTINGS
from scipy import sparse

import hybridtrain as ht

RUN = {**SETTINGS, "scale": None}  # rows in memory would be centred, those of a file are not

_CHANGING_SECONDS = 0.4
_CHANGER = """
import mmap, os, random, sys, time
random.seed(int(sys.argv[2]))
with open(sys.argv[1], "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0)
ends = time.monotonic() + float(sys.argv[3])
print(flush=True)
time.sleep(float(sys.argv[4]))  # for rows that have been checked are being used
while time.monotonic() < ends:
    for _ in range(200):
        at = random.randrange(128, len(memory) - 4) & ~3
        memory[at : at + 4] = random.choice([os.urandom(4), b"\\xff\\xff\\xff\\x7f", bytes(4)])
"""


def _write(place: Path, files: dict[str, bytes]) -> Path:
    folder = place / "rows"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def _files(X: Any, y: Any) -> dict[str, bytes]:
    if not sparse.issparse(X):
        return {"X.npy": npy(X), "y.npy": npy(y)}
    made = {"data.npy": X.data, "indices.npy": X.indices, "indptr.npy": X.indptr.astype(np.int64)}
    return {name: npy(array) for name, array in made.items()} | {
        "shape.npy": npy(np.array(X.shape, np.int64)),
        "y.npy": npy(y),
    }


def _change_array(draw: Draw, files: dict[str, bytes], name: str) -> None:
    array = np.asarray(arrays.faulty(draw, np.load(_stream(files[name]))))
    if array.dtype != object and array.nbytes < 1 << 24:
        files[name] = npy(np.ma.getdata(array))


def _change_header(draw: Draw, files: dict[str, bytes], name: str) -> None:
    files[name] = redeclared(draw, files[name])


def _damage(draw: Draw, files: dict[str, bytes], name: str) -> None:
    files[name] = damaged(draw, files[name])


def _remove(draw: Draw, files: dict[str, bytes], name: str) -> None:
    del files[name]


def _exchange(draw: Draw, files: dict[str, bytes], name: str) -> None:
    other = draw.one(list(files))
    files[name], files[other] = files[other], files[name]


_CHANGES: dict[str, Callable[[Draw, dict[str, bytes], str], None]] = {
    "array": _change_array,
    "the array": _change_array,
    "header": _change_header,
    "damaged": _damage,
    "removed": _remove,
    "exchanged": _exchange,
}


def _stream(data: bytes) -> Any:
    import io  # noqa: PLC0415 - for this alone

    return io.BytesIO(data)


def _load(content: bytes | None) -> Any:
    """Return the array of a file; None where there is none, or it is broken."""
    try:
        array = np.load(_stream(content or b""), allow_pickle=False)
        return array if isinstance(array, np.ndarray) else None
    except Exception:  # whatever NumPy says of a broken file
        return None


def _expected(files: dict[str, bytes]) -> Any:
    """Return the rows that the files hold; None: they are broken."""
    names = {"X.npy", "data.npy", "indices.npy", "indptr.npy"} & set(files)
    try:
        if names == {"X.npy"}:
            return _expected_dense(_load(files["X.npy"]))
        return _expected_csr(files) if len(names) == 3 else None
    except Exception:  # arrays may be anything
        return None


def _expected_dense(X: Any) -> Any:
    if X is None or X.ndim != 2 or X.dtype.kind not in "fiub" or not X.size:
        return None
    rows = np.ascontiguousarray(X, dtype=np.float32)
    return rows if np.isfinite(rows).all() else None


def _expected_csr(files: dict[str, bytes]) -> Any:
    data, indices, pointers = (_load(files[f"{n}.npy"]) for n in ("data", "indices", "indptr"))
    if indices.dtype.kind not in "iu" or pointers.dtype.kind not in "iu":
        return None
    shape = (len(pointers) - 1, max(int(indices.max(initial=0)) + 1, 1))
    if "shape.npy" in files:
        declared = _load(files["shape.npy"])
        if declared.ndim != 1 or declared.dtype.kind not in "iu":
            return None
        shape = tuple(declared.tolist())
    X = sparse.csr_matrix((1, 1), dtype=np.float32)
    X._shape = shape
    X.data, X.indices, X.indptr = data, indices, pointers
    return reading.read(X)


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make a directory, and train on it."""
    if draw.chance(0.04):
        return _case_of_change(draw, place), Allowed()
    X = sparse_rows(draw) if draw.chance(0.8) else dense_rows(draw)
    y = two_classes(draw, X.shape[0])
    files = _files(X, y)
    if "shape.npy" in files and draw.chance(0.3):
        del files["shape.npy"]
    with building():
        if not (is_sound := draw.chance(0.1)):
            name = draw.one([name for name in files if name != "y.npy" or draw.chance(0.3)])
            draw.note(name)
            draw.named(_CHANGES)(draw, files, name)
        folder = _write(place, files)
        expected = _expected(files)
        labels = _load(files.get("y.npy"))
    how = draw.one(["train", "read_data", "validation"])
    draw.note(how)
    return lambda: _use(folder, (X, y), (expected, labels), how, is_sound), Allowed()


def _run(X: Any, y: Any, how: str) -> ht.Result:
    if how == "validation":
        width = X.shape[1] if hasattr(X, "shape") else y.shape[1]
        rows = np.eye(max(2, min(width, 50)), width, dtype=np.float32)
        labels = np.arange(len(rows)) % 2
        other = (X, y) if hasattr(X, "shape") else X
        return ht.train(ht.Linear(), (rows, labels), validation=other, **RUN)
    return ht.train(ht.Linear(), (X, y), **RUN)


def _use(folder: Path, data: tuple[Any, Any], expected: Any, how: str, is_sound: bool) -> str:
    (X, y), (rows, labels) = data, expected
    if rows is not None and rows.shape[1] > reading.MOST_USED_FEATURES:
        how = "read_data"
    try:
        if how == "train":
            result = ht.train(ht.Linear(), folder, **RUN)
        elif how == "validation":
            result = _run(folder, X, how)
        else:
            found = ht.read_data(folder)
            labels = y if found[1] is None else found[1]
            if found[0].shape[1] > reading.MOST_USED_FEATURES:
                return "wide"  # train refuses more than the core's most
            result = ht.train(ht.Linear(), (found[0], labels), **RUN)
    except Exception as error:
        name = outcome_of(error, Allowed())
        require(not is_sound, f"a sound directory is refused: {error}")
        return f"refused ({name})"
    require(rows is not None, "rows are used that are none")
    require(labels is not None and len(labels) == rows.shape[0], "labels are used that are none")
    check_model(result)
    if how != "validation" or rows.shape[1] == X.shape[1]:
        wanted = _run(rows, labels, how)
        require(fingerprint(result) == fingerprint(wanted), "another result than of the same rows")
    return "equal"


def _case_of_change(draw: Draw, place: Path) -> Callable[[], str]:
    """Train and predict while another process writes to the indices."""
    draw.note("changing")
    rng = draw.numbers
    n_rows, n_features = 2000, draw.one([50, 3000])
    X = sparse.random(n_rows, n_features, 10 / n_features, "csr", np.float32, rng=rng)
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    y = two_classes(draw, n_rows)
    folder = _write(place, _files(X, y))
    file = folder / draw.one(["indices.npy", "indices.npy", "data.npy", "indptr.npy"])
    strategy = draw.one(["sync", "hybrid", "hogwild", "hybrid(hot=0)"])
    loss: Any = draw.one(["logistic", "softmax"])
    draw.note(f"{file.name} {strategy} {loss}")
    workers, seed = draw.randint(1, 2), str(draw.getrandbits(32))
    times = [str(_CHANGING_SECONDS), str(draw.random() * _CHANGING_SECONDS / 2)]

    def run() -> str:
        rows, labels = ht.read_data(folder)
        sound = ht.train(ht.Linear(loss=loss), (X, y), **RUN)
        command = [sys.executable, "-S", "-c", _CHANGER, str(file), seed, *times]
        outcomes: list[str] = []
        with subprocess.Popen(command, stdout=subprocess.PIPE) as changer:
            assert changer.stdout is not None
            while not outcomes or changer.poll() is None:
                settings = {"strategy": strategy, "workers": workers, "epochs": 1000}
                try:
                    if not outcomes:
                        changer.stdout.readline()
                    result = ht.train(
                        ht.Linear(loss=loss), (rows, labels), progress=False, **settings
                    )
                    check_model(result, n_rows=n_rows)
                    outcomes.append("trained")
                except Exception as error:
                    outcomes.append(outcome_of(error, Allowed()))
                try:
                    p = sound.predict_proba(rows)
                    require(not np.isnan(p).any(), "probabilities are NaN")
                except Exception as error:
                    outcome_of(error, Allowed())
        return f"changed ({outcomes[-1]})"

    return run
