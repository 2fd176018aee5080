# SPDX-License-Identifier: BSD-3-Clause
"""Files of scipy.sparse.save_npz: of every format, with a member changed, or bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import arrays, reading
from fuzz.contract import Allowed, building, check_model, fingerprint, outcome_of, require
from fuzz.draw import Draw, sparse_rows, two_classes
from fuzz.model_files import damaged, members_of, npy, redeclared, zipped
from fuzz.ways import RUN
from scipy import sparse

import hybridtrain as ht

_CLASSES = {
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "coo": sparse.coo_matrix,
    "bsr": sparse.bsr_matrix,
    "dia": sparse.dia_matrix,
}


def _saved(X: Any) -> bytes:
    file = io.BytesIO()
    sparse.save_npz(file, X, compressed=False)
    return file.getvalue()


def _change(draw: Draw, content: bytes) -> bytes:
    members = members_of(content)
    name = draw.one(list(members))
    draw.note(name)
    how = draw.one(["array", "array", "array", "header", "format", "removed", "bytes"])
    draw.note(how)
    if how == "array":
        array = np.asarray(arrays.faulty(draw, np.load(io.BytesIO(members[name]))))
        if array.dtype != object and array.nbytes < 1 << 24:
            members[name] = npy(np.ma.getdata(array))
    elif how == "header":
        members[name] = redeclared(draw, members[name])
    elif how == "format":
        form = draw.one([*_CLASSES, "lil", "x", "", "CSR", "csr\0"])
        members["format.npy"] = npy(draw.one([form.encode(), form]))
    elif how == "removed":
        del members[name]
    else:
        return damaged(draw, content)
    return zipped(members, draw)


def _expected(content: bytes) -> Any:
    """Return the rows that the file holds; None: it is broken."""
    try:
        parts = {
            name.removesuffix(".npy"): np.load(io.BytesIO(data), allow_pickle=False)
            for name, data in members_of(content).items()
        }
        form = parts["format"].item()
        form = form.decode() if isinstance(form, bytes) else form
        if parts["shape"].dtype.kind not in "iu":
            return None
        X = _CLASSES[form]((1, 1), dtype=np.float32)
        X._shape = tuple(parts["shape"].tolist())
        if form == "coo":
            X.coords = parts["row"], parts["col"]
        names = {"coo": ["data"], "dia": ["data", "offsets"]}
        for name in names.get(form, ["data", "indices", "indptr"]):
            setattr(X, name, parts[name])
        return reading.read(X)
    except Exception:  # files may be anything
        return None


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make a file, and train on it."""
    rows = sparse_rows(draw)
    y = two_classes(draw, rows.shape[0])
    form = draw.one(list(_CLASSES))
    draw.note(form)
    with building():
        content = _saved(_CLASSES[form](rows))
        if not (is_sound := draw.chance(0.1)):
            content = _change(draw, content)
        file = place / "rows.npz"
        file.write_bytes(content)
        np.save(place / "rows.y.npy", y)
        expected = _expected(content)
    return lambda: _use(file, expected, y, is_sound), Allowed()


def _use(file: Path, expected: Any, y: Any, is_sound: bool) -> str:
    if expected is not None and expected.shape[1] > reading.MOST_USED_FEATURES:
        ht.read_data(file)
        return "wide"
    try:
        result = ht.train(ht.Linear(), file, **RUN)
    except Exception as error:
        name = outcome_of(error, Allowed())
        require(not is_sound, f"a sound file is refused: {error}")
        return f"refused ({name})"
    require(expected is not None, "rows are used that are none")
    check_model(result, n_rows=len(y))
    without = expected.copy()
    without.eliminate_zeros()
    wanted = [fingerprint(ht.train(ht.Linear(), (X, y), **RUN)) for X in (expected, without)]
    require(fingerprint(result) in wanted, "another result than of the same rows")
    return "equal"
