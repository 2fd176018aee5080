# SPDX-License-Identifier: BSD-3-Clause
"""Paths: files of strange kinds and names to read, full disks and wrong places to write to."""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.contract import Allowed, building, check_model, fingerprint, outcome_of, require
from fuzz.draw import Draw
from fuzz.ways import RUN

import hybridtrain as ht

_TEXT = b"".join(b"%d 1:0.5 %d:%d\n" % (k % 2, k % 5 + 2, k % 7 + 1) for k in range(40))
_N_ROWS = 40


class _PathLike:
    """What os.fspath takes, and returns anything."""

    def __init__(self, path: Any) -> None:
        self.path = path

    def __fspath__(self) -> Any:
        return self.path


def _fed(fifo: Path) -> Path:
    """Return a named pipe that gives the rows once, to a single reader."""
    os.mkfifo(fifo)

    def feed() -> None:
        with fifo.open("wb") as file:
            file.write(_TEXT)

    threading.Thread(target=feed, daemon=True).start()
    return fifo


def _socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(os.path.relpath(path))
    return path


def _link(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _source(draw: Draw, place: Path) -> tuple[Any, bool]:
    """Return what is given as a path, and whether it holds the rows."""
    rows = place / "rows.svm"
    rows.write_bytes(_TEXT)
    name = os.fsdecode(b"rows \xff\xfe\n.svm")
    sound: dict[str, Callable[[], Any]] = {
        "text": lambda: str(rows),
        "path": lambda: rows,
        "path-like": lambda: _PathLike(str(rows)),
        "link": lambda: _link(place / "link", rows),
        "odd name": lambda: rows.rename(place / name),
        "long name": lambda: rows.rename(place / ("r" * 250)),
        "relative": lambda: os.path.relpath(rows),
        "pipe": lambda: _fed(place / "pipe"),
    }
    strange: dict[str, Callable[[], Any]] = {
        "missing": lambda: place / "missing.svm",
        "in a file": lambda: rows / "rows.svm",
        "link to none": lambda: _link(place / "broken", place / "missing"),
        "link to itself": lambda: _link(place / "loop", place / "loop"),
        "socket": lambda: _socket(place / "socket"),
        "empty folder": lambda: _folder(place / "folder"),
        "nothing": lambda: "",
        "zero": lambda: "a\0b",
        "surrogate": lambda: "\ud800",
        "too long": lambda: "x" * 5000,
        "device": lambda: "/dev/null",
        "bytes": lambda: os.fsencode(rows),
        "number": lambda: 10**6,
        "path-like of bytes": lambda: _PathLike(os.fsencode(rows)),
        "path-like of none": lambda: _PathLike(None),
        "other suffix": lambda: rows.rename(place / draw.one(["r.npz", "r.npy", "r.csv", "r.tsv"])),
        "unreadable": lambda: "/proc/self/mem",
        "process": lambda: "/proc/self/status",
    }
    is_sound = draw.chance(0.4)
    return draw.named(sound if is_sound else strange)(), is_sound


def _reads(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    with building():
        source, is_sound = _source(draw, place)
        rows = np.eye(6, 8, dtype=np.float32)
        labels = np.arange(6) % 2
    ways: dict[str, Callable[[], ht.Result]] = {
        "train": lambda: ht.train(ht.Linear(), source, **RUN),
        "validation": lambda: ht.train(ht.Linear(), (rows, labels), validation=source, **RUN),
        "read_data": lambda: ht.train(ht.Linear(), ht.read_data(source), **RUN),
        "load": lambda: ht.load(source),
    }
    way = draw.one(list(ways))
    draw.note(way)

    def run() -> str:
        result = ways[way]()
        require(way != "load", "text is loaded as a model")
        check_model(result, n_rows=6 if way == "validation" else _N_ROWS)
        return "read" if is_sound else "strange, read"

    def checked() -> str:
        try:
            return run()
        except Exception as error:
            name = outcome_of(error, allowed)
            needs_rows = is_sound and way != "load" and "pipe" not in draw.path
            require(not needs_rows, f"a sound path is refused: {error}")
            return f"refused ({name})"
        finally:
            _drain(place / "pipe")

    is_no_path = not isinstance(source, str | os.PathLike) or "path-like" in " ".join(draw.path)
    allowed = Allowed(missing_files=not is_sound, no_path=is_no_path)
    return checked, allowed


def _drain(pipe: Path) -> None:
    """Let the writer of a pipe that nobody has read go on to its end."""
    if pipe.exists():
        handle = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        for thread in threading.enumerate():
            if thread.daemon:
                thread.join(0.2)
        os.close(handle)


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not os.listdir(path)


def _writes(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Save where it may fail: the old file stays, and nothing is left beside it."""
    target = place / "model.npz"
    places: dict[str, Callable[[], Any]] = {
        "new": lambda: target,
        "over": lambda: target,
        "link": lambda: _link(place / "link.npz", target),
        "no suffix": lambda: place / "model",
        "folder": lambda: place,
        "missing folder": lambda: place / "missing" / "model.npz",
        "in a file": lambda: target / "model.npz",
        "full": lambda: "/dev/full",
        "zero": lambda: "a\0b.npz",
        "too long": lambda: place / ("x" * 300),
        "long": lambda: place / ("x" * 250 + ".npz"),
        "no text": lambda: draw.one([None, 3.5, [], b"model.npz"]),
        "odd": lambda: place / os.fsdecode(b"\xff\n.npz"),
    }
    with building():
        X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
        old, new = (ht.train(ht.Linear(), (X, X[:, k] > 0), **RUN) for k in range(2))
        name = draw.one(list(places))
        draw.note(name)
        if name != "new":
            old.save(target)
        where = places[name]()
        is_full = draw.chance(0.4)
        what = draw.one(["save", "save", "save_directory"])
        draw.note(f"{what} {'on a full disk' if is_full else ''}")
    before = set(os.listdir(place))
    allowed = Allowed(missing_files=True, no_path=name == "no text")

    def write() -> None:
        if what == "save":
            new.save(where)
        else:
            ht.save_directory(where, X, X[:, 0] > 0)

    def run() -> str:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            if is_full:
                resource.setrlimit(resource.RLIMIT_FSIZE, (draw.one([0, 100, 1000]), limits[1]))
            write()
            outcome = "written"
        except Exception as error:
            outcome = f"refused ({outcome_of(error, allowed)})"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if outcome != "written" and name != "new":
            same = fingerprint(ht.load(target)) == fingerprint(old)
            require(same, "a save that failed has changed the old file")
        if outcome != "written":
            left = {name for name in os.listdir(place) if not _is_empty(place / name)} - before
            require(not left, f"a save that failed has left {sorted(left)[:3]}")
        elif what == "save" and name in ("new", "over", "link", "long"):
            require(fingerprint(ht.load(where)) == fingerprint(new), "another model is saved")
        return outcome

    return run, allowed


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make a path, and read from it or write to it."""
    return draw.named({"reads": _reads, "writes": _writes})(draw, place)
