# SPDX-License-Identifier: BSD-3-Clause
"""svmlight text: what the grammar allows, and changes of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.contract import Allowed, building, check_model, outcome_of, require
from fuzz.draw import Draw
from fuzz.ways import RUN

import hybridtrain as ht

Rows = list[tuple[float, dict[int, float]]]
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
_INDEX = re.compile(rb"\d+\Z")
_SPACE = re.compile(rb"[ \t\r\v\f]+")
_LARGEST_INDEX = 2**31 - 1
_WRONG = (
    *(b":", b"::", b"1", b"1:", b":1", b"1:x", b"x:1", b"1:1:1", b"1 :1", b"-1:1", b"1_0:1"),
    *(b"5:1_0", b"0x1:1", b"1:0x1", b"1:nan", b"1:inf", b"1:-infinity", b"1:1e400", b"1:1e39"),
    *(b"2147483647:1", b"2147483648:1", b"4294967297:1", b"9223372036854775808:1", b"1e3:1"),
    *(b"9" * 400 + b":1", b"1:" + b"9" * 400, b"1.0:1", b"1.5:1", b"qid:1", b"qid:x", b"qid:"),
    *("\u0661:1".encode(), "1:\u0661".encode(), "\u00a0".encode(), "\u20281:1".encode()),
    *(b"\x00", b"1:1\x00", b"\xff\xfe", b"1:\xff", b"1:1d5", b"1:1f", b"1:+-1", b"1:--1", b"1:."),
    *(b"1:1,2:1", b"1=1", b"1:1;", b"(1:1)", b"1:1e", b"1:e5", b"1:True", b"sid:1", b"cost:1"),
    *(b"\x1a", b"1: 1", b"0:1", b"1:1 1:2", b"9:1 3:1", b"1:'1'", b'"1":1', b"\\", b"%s%n", b"-"),
)
_LABELS = (b"nan", b"inf", b"1e400", b"x", b"", b"1,2", b"1:1", b"0x1", b"1_0", b"--1", b"\xd9\xa1")


def _number(draw: Draw) -> bytes:
    value = draw.randint(1, 64) / 8.0 * draw.one([1, -1])
    forms = [f"{value}", f"{value:+}", f"{value:e}", f"{value:.1f}0", f"{int(value * 8)}"]
    return draw.one(forms).replace("0.", draw.one(["0.", "."])).encode()


def _line(draw: Draw, width: int) -> bytes:
    label = draw.one([b"1", b"-1", b"+1", b"1.0", b"-1e0", b"01"])
    columns = sorted(draw.sample(range(1, width + 1), draw.randint(0, min(width, 8))))
    parts = [label, *(b"%d:%s" % (column, _number(draw)) for column in columns)]
    if draw.chance(0.1):
        parts.insert(1, b"qid:%d" % draw.randint(0, 9))
    text = draw.one([b" ", b" ", b"\t", b"  "]).join(parts)
    text += draw.one([b"", b"", b"", b" ", b"\t", b" # a comment", b" #1:2", b"#"])
    return draw.one([b"", b"", b"", b" ", b"\t"]) + text


def sound_text(draw: Draw) -> bytes:
    """Return text that is to be read, with both labels."""
    width = draw.one([1, 5, 40, 3000])
    lines = [_line(draw, width) for _ in range(draw.randint(2, 30))]
    lines[:2] = b"1 1:0.5", b"-1 1:1"
    for _ in range(draw.one([0, 0, 1, 3])):
        lines.insert(draw.below(len(lines)), draw.one([b"", b"# comment", b"  ", b"\t#", b"#\xff"]))
    end = draw.one([b"\n", b"\n", b"\r\n"])
    text = end.join(lines) + draw.one([end, b"", end * 2])
    return draw.one([b"", b"", b"", b"\xef\xbb\xbf"]) + text


# ---- a second reader: slow and strict


class UnreadableError(Exception):
    """The text is not of the grammar."""


def _need(holds: object) -> None:
    if not holds:
        raise UnreadableError


def read(text: bytes, *, first: int = 1) -> Rows:
    """Return label and elements of each row.

    Raises
    ------
    UnreadableError
        When the text is not of the strict grammar.
    """
    rows: Rows = []
    for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        tokens = [token for token in _SPACE.split(line.partition(b"#")[0]) if token]
        if not tokens:
            continue
        label, *pairs = tokens
        _need(_NUMBER.match(label) and math.isfinite(float(label)))
        if pairs and pairs[0].startswith(b"qid:"):
            _need(_INDEX.match(pairs.pop(0)[4:]))
        elements: dict[int, float] = {}
        last = first - 1
        for pair in pairs:
            index, colon, value = pair.partition(b":")
            _need(colon and _INDEX.match(index) and _NUMBER.match(value))
            column = int(index)
            _need(last < column <= _LARGEST_INDEX)
            last = column
            with np.errstate(over="ignore"):
                _need(np.isfinite(np.float32(float(value))))
            elements[column] = float(np.float32(float(value)))
        rows.append((float(label), elements))
    _need(rows)
    return rows


# ---- changes; most make the text wrong, some leave it right


def _change_token(draw: Draw, text: bytes) -> bytes:
    lines = text.split(b"\n")
    at = draw.below(len(lines))
    tokens = lines[at].split(b" ")
    k = draw.below(len(tokens))
    wrong = draw.one(_WRONG) if k or draw.chance(0.3) else draw.one(_LABELS)
    draw.note(f"line {at + 1} {wrong[:40]!r}")
    if draw.chance(0.5):
        tokens[k] = wrong
    else:
        tokens.insert(k, wrong)
    lines[at] = b" ".join(tokens)
    return b"\n".join(lines)


def _change_byte(draw: Draw, text: bytes) -> bytes:
    at = draw.below(len(text))
    new = draw.one([draw.randbytes(1), draw.randbytes(3), b"", b"\n", b" ", b":", b"\r", b"\0"])
    draw.note(f"{at}: {new!r}")
    return text[:at] + new + text[at + draw.randint(0, 2) :]


def _cut(draw: Draw, text: bytes) -> bytes:
    return text[: draw.below(len(text))]


def _long_line(draw: Draw, text: bytes) -> bytes:
    filler = draw.one(
        [b"#" + b"x" * 300_000, b"1 " + b" " * 300_000, b"1" * 200_000, b"1:" * 90_000]
    )
    many = b" ".join(b"%d:1" % k for k in range(1, 9_000))
    line = draw.one([filler, b"1 " + many, b"1 " + many + b" 5:1"])
    return text + (b"" if text.endswith(b"\n") else b"\n") + line


def _other_encoding(draw: Draw, text: bytes) -> bytes:
    return text.decode("latin-1").encode(draw.one(["utf-16", "utf-32", "utf-16-le", "utf-8-sig"]))


def _no_text(draw: Draw, text: bytes) -> bytes:
    others = [b"", b"\n", b"\xef\xbb\xbf", b"#", b"\0", b" ", b"{}", b"a,b\n1,2\n", b"\x89PNG\r\n"]
    return draw.one([*others, b"\0" * 5000, draw.randbytes(500), b"\xef\xbb\xbf" + text * 2])


_CHANGES: dict[str, Callable[[Draw, bytes], bytes]] = {
    "token": _change_token,
    "another token": _change_token,
    "a third token": _change_token,
    "byte": _change_byte,
    "cut": _cut,
    "long": _long_line,
    "encoding": _other_encoding,
    "no text": _no_text,
}


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make a file of text, and read it."""
    with building():
        text = sound_text(draw)
        if not (is_sound := draw.chance(0.3)):
            text = draw.named(_CHANGES)(draw, text)
        file = place / draw.one(["rows.svm", "rows", "rows.txt", "rows.libsvm", "é rows.dat"])
        file.write_bytes(text)
    zero_based = draw.chance(0.1)
    draw.note("zero_based" if zero_based else "")
    if is_sound and zero_based:
        is_sound = False
    return lambda: use(file, text, is_sound, zero_based), Allowed()


def use(file: Path, text: bytes, is_sound: bool, zero_based: bool = False) -> str:
    """Read the file; require what the second reader says, or a refusal.

    Raises
    ------
    UnsoundError
        When sound text is refused, or other text read as what it is not.
    """
    try:
        expected: Rows | None = read(text, first=0 if zero_based else 1)
    except UnreadableError:
        expected = None
    try:
        X, y = ht.read_data(file, zero_based=zero_based)
    except Exception as error:
        name = outcome_of(error, Allowed())
        require(not is_sound, f"sound text is refused: {error}")
        return f"refused ({name})"
    if expected is None and _is_lenient(text):
        return "read, with spaces after colons"
    require(expected is not None, f"text is read that is none: {_first_line(X, y)}")
    assert expected is not None
    _compare(X, y, expected, 0 if zero_based else 1)
    if X.shape[1] < 10**6 and len(set(y.tolist())) == 2:
        check_model(ht.train(ht.Linear(), file, **RUN) if not zero_based else _train(X, y))
    return "equal"


def _train(X: Any, y: Any) -> ht.Result:
    return ht.train(ht.Linear(), (X, y), **RUN)


def _is_lenient(text: bytes) -> bool:
    """Whether spaces around colons are all that the strict grammar objects to."""
    try:
        read(re.sub(rb":[ \t]+", b":", text))
    except UnreadableError:
        return False
    return True


def _first_line(X: Any, y: Any) -> str:
    return f"{X.shape} {y[:3].tolist()} {X.indices[:5].tolist()} {X.data[:5].tolist()}"


def _compare(X: Any, y: Any, expected: Rows, first: int) -> None:
    require(X.shape[0] == len(expected) == len(y), f"{X.shape[0]} rows are read of {len(expected)}")
    require(X.dtype == np.float32 and X.indices.dtype == np.int32, f"{X.dtype} {X.indices.dtype}")
    for row, (label, elements) in enumerate(expected):
        require(y[row] == label, f"row {row}: the label {y[row]} for {label}")
        part = slice(X.indptr[row], X.indptr[row + 1])
        found = dict(zip((X.indices[part] + first).tolist(), X.data[part].tolist(), strict=True))
        is_equal = found.keys() == elements.keys() and all(
            math.isclose(found[k], elements[k], rel_tol=1e-6) for k in found
        )
        require(is_equal, f"row {row}: {found} for {elements}"[:300])
