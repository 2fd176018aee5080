# SPDX-License-Identifier: BSD-3-Clause
"""The command line: words, files and options of every kind; an exit code, and never a traceback."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

from fuzz import settings, text
from fuzz.contract import Allowed, building, check_model, require
from fuzz.draw import Draw

import hybridtrain as ht
from hybridtrain.cli.entry import main

_CODES = (0, 1, 2)
_NUMBERS = (
    *("0", "1", "2", "-1", "1.5", "nan", "inf", "-inf", "1e400", "1e-400", "x", "", " ", "0x1"),
    *("1_0", "\u0661", "9" * 40, "true", "--1", "1,2", "1e3", "+1", "0.5", "auto", "none"),
)
_OPTIONS: dict[str, tuple[str, ...]] = {
    "--workers": (*_NUMBERS[:5], "x", "", "1_0"),
    "--epochs": ("0", "1", "2", "-1", "1.5", "x", "", "1_0"),
    **dict.fromkeys(["--seed", "--lr", "--l1", "--l2", "--batch-size", "--validation"], _NUMBERS),
    "--loss": ("logistic", "softmax", "squared", "huber", "hinge", "x", ""),
    "--zero-based": (),
}
_OPTIONS_OF = {
    "train": {"--patience": _NUMBERS, "--seconds": ("0", "0.05", "-1", "nan", "inf", "x", "")},
    "compare": {
        "--repeats": ("0", "1", "2", "-1", "x"),
        "--seeds": ("0:2", "7,3", "1,1", "2:1", "0:99999999999999999999", "-1:1", "", ":", "x"),
        "--no-baseline": (),
    },
}


def _words(draw: Draw, rows: Path, model: Path, place: Path) -> list[str]:
    command = draw.one([*["train"] * 8, *["predict"] * 6, *["compare"] * 3, "other", ""])
    words = [command] if command else []
    missing = str(place / "no such\nfile \u202e\udcff")
    if command == "predict":
        words += [draw.one([str(model), str(model), str(rows), missing])]
    words += [draw.one([*[str(rows)] * 12, str(model), missing, str(place), "-x", ""])]
    if command == "predict":
        words += draw.sample(["--proba", "--score"], draw.randint(0, 2))
    else:
        words += ["--epochs", "1", "--workers", draw.one(["1", "2"])]
    if command == "compare":
        words += ["--strategies", draw.one(["sync", "sync", "hybrid,sync", "hybrid(", ",", "x"])]
        words += ["--repeats", "1"]
    if command in _OPTIONS_OF or draw.chance(0.1):
        options: dict[str, tuple[str, ...]] = {**_OPTIONS, **_OPTIONS_OF.get(command, {})}
        for name in draw.sample(list(options), draw.randint(0, 2)):
            words += [name, draw.one(options[name])] if options[name] else [name]
    for name in ("--optimizer", "--strategy"):
        if command == "train" and draw.chance(0.15):
            words += [name, settings.call_text(draw)]
    target = draw.one([str(place / "saved.npz"), str(place), "/no/such/folder/x.npz", ""])
    if draw.chance(0.3) and command in ("train", "predict"):
        words += ["--save" if command == "train" else "--output", target]
    return words


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make a line of words, and run it in this process."""
    with building():
        content = text.sound_text(draw)
        if draw.chance(0.3):
            content = draw.named(text._CHANGES)(draw, content)
        rows, model = place / "rows.svm", place / "model.npz"
        rows.write_bytes(content)
        words = _words(draw, rows, model, place)
        draw.note(" ".join(word.replace(str(place), "") for word in words)[:300])
    return lambda: _run(words, place, model), Allowed(missing_files=False)


def _run(words: list[str], place: Path, model: Path) -> str:
    if "predict" in words[:1]:
        sound = place / "sound.svm"
        sound.write_bytes(b"1 1:0.5\n-1 2:1\n")
        ht.train(ht.Linear(), sound, workers=1, epochs=1, progress=False).save(model)
    # As a terminal's: bytes below, and an encoding that cannot show every character.
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    said_bytes = io.BytesIO()
    err = io.TextIOWrapper(said_bytes, encoding="ascii", errors="backslashreplace")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    err.flush()
    said = said_bytes.getvalue().decode()
    require(code in _CODES, f"exit code {code}")
    require("Traceback" not in said, f"a traceback: {said[-300:]}")
    require(code == 0 or said.strip(), f"exit code {code} without a word")
    require(len(said) < 20_000, f"{len(said)} characters of errors")
    saved = place / "saved.npz"
    if code == 0 and "--save" in words and saved.is_file():
        check_model(ht.load(saved))
    return f"exit code {code}"
