# SPDX-License-Identifier: BSD-3-Clause
"""svmlight text: scikit-learn reads it, and errors name the broken line.

The text is read once, a block of lines at a time, so that it may come through a pipe:

    source -> unpacked bytes -> lines, mended -> scikit-learn -> checked arrays of a block
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data.sources import Source, open_text, source_name
from hybridtrain.data.unknown import Unknown, leave_out
from hybridtrain.errors import InvalidDataError, MissingPackageError

_Array = npt.NDArray[Any]
_Parse = Callable[["_Block"], tuple[Any, npt.NDArray[np.float64]]]
_PARSE_ERRORS = (ValueError, OverflowError)
_LARGEST_INDEX = (1 << 31) - 1
_BLOCK_BYTES = 1 << 22
_LONGEST_LINE = 1 << 30
_SHOWN = 60
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_QID = re.compile(rb"qid:[0-9]+")
_WRONG_QID = re.compile(rb"qid(?!:[0-9]+(?:[\s#]|$))")
_SPACE_AFTER_COLON = re.compile(rb":[ \t]+")
_COUNTS_FROM_0 = "for a file that counts from 0 use ht.read_data(path, zero_based=True)"


def read_svmlight(
    source: Source,
    *,
    n_features: int | None,
    zero_based: bool,
    unknown: str = "refuse",
    max_bytes: int | None = None,
) -> tuple[Any, npt.NDArray[np.float64], Unknown]:
    """Read rows of ``label index:value index:value ...``.

    Comments after ``#`` and ``qid:`` are skipped, and a byte order mark.

    Parameters
    ----------
    source : path-like or binary file
        Plain or packed; see `open_text`. Read once.
    n_features : int, optional
        Columns of X; None: the largest index.
    zero_based : bool
        Whether indices count from 0, not from 1.
    unknown : "refuse" or "ignore"
        Whether to refuse elements beyond `n_features` or to leave them out.
    max_bytes : int, optional
        As for `open_text`.

    Returns
    -------
    X : CSR float32, int32 indices (n_rows, n_features)
    y : float64 array (n_rows,)
    unknown : Unknown
        The elements that were left out.

    Raises
    ------
    InvalidDataError
        When the text is broken; the message names source and line.
    MissingPackageError
        When scikit-learn, or the library that unpacks the text, is missing.
    OSError
        When the source cannot be opened or read.
    """
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    name = source_name(source)
    first = 0 if zero_based else 1
    values: list[_Array] = []
    columns: list[_Array] = []
    lengths: list[_Array] = []
    labels: list[_Array] = []
    left_out = Unknown()
    with open_text(source, max_bytes) as text:
        _require_text(text.peek(), name)
        parse = _parser()  # takes a second to import: after the file was found
        n_lines = 0
        while True:
            block = _Block(text, name, n_lines, first)
            X, y = _parsed(parse, block)
            if not block.lines:
                break
            n_lines += len(block.lines)
            _check(block, X, y, n_features, unknown)
            found, indices, pointers = X.data, X.indices.astype(np.int32), X.indptr
            indices -= np.int32(first)
            if n_features is not None:
                found, indices, pointers, more = leave_out(found, indices, pointers, n_features)
                left_out += more
            values.append(found)
            columns.append(indices)
            lengths.append(np.diff(pointers))
            labels.append(y)
    n_rows = sum(map(len, labels))
    if not n_rows:
        raise InvalidDataError(
            f"{name} holds no rows; svmlight text has one a line: label index:value ..."
        )
    indices, data = _joined(columns), _joined(values)
    width = n_features or max(int(indices.max(initial=0)) + 1, 1)
    pointers = np.zeros(n_rows + 1, np.int32 if len(indices) <= _LARGEST_INDEX else np.int64)
    np.cumsum(_joined(lengths), out=pointers[1:])
    # Not through the constructor: it would look at all indices once more.
    matrix = sparse.csr_matrix((n_rows, width), dtype=np.float32)
    matrix.data, matrix.indices, matrix.indptr = data, indices, pointers
    return matrix, _joined(labels), left_out


def _joined(blocks: list[_Array]) -> _Array:
    """Return the blocks as one array; the list is empty then, to hold them once and a half."""
    joined: _Array = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    blocks.clear()
    return joined


def _parser() -> _Parse:
    try:
        from sklearn.datasets import load_svmlight_file  # noqa: PLC0415 - an extra, 1 s at import
    except ImportError as error:
        raise MissingPackageError(
            "reading svmlight text needs scikit-learn: pip install 'hybridtrain[files]'"
        ) from error

    def parse(block: _Block) -> tuple[Any, npt.NDArray[np.float64]]:
        X, y = load_svmlight_file(block, dtype=np.float32, zero_based=True)
        return X, y

    return parse


def _require_text(start: bytes, name: str) -> None:
    """Refuse a file that is not text before it is read: a device may have no first line."""
    if start.startswith(_UTF16):
        raise InvalidDataError(
            f"{name} is text in UTF-16, svmlight text is ASCII or UTF-8; convert it: "
            "iconv -f UTF-16 -t UTF-8"
        )
    if b"\0" in start.partition(b"\n")[0]:
        raise InvalidDataError(
            f"{name} is no text: its first line holds bytes of value 0, as tar archives, "
            "binary files and text in UTF-16 do"
        )


class _Block:
    """The next lines of a text, as a file that scikit-learn reads line by line.

    Attributes
    ----------
    lines : list of bytes
        Those that were given out so far, as they are in the text.
    given : bytes
        The last of them, as it was given out.
    is_mended : bool
        Whether spaces after colons are left out.
    first : int
        The first index, 0 or 1.
    """

    def __init__(self, text: io.BufferedReader, name: str, n_before: int, first: int) -> None:
        self.lines: list[bytes] = []
        self.given = b""
        self.is_mended = False
        self.first = first
        self._again: list[bytes] = []
        self._text = text
        self._name = name
        self._n_before = n_before

    def read(self) -> bytes:
        """Only its name is asked for: a file has it."""
        raise io.UnsupportedOperation

    def mend(self) -> None:
        """Give the lines out once more, now without spaces after colons."""
        self._again, self.lines = self.lines, []
        self.is_mended = True

    def __iter__(self) -> Iterator[bytes]:
        left = _BLOCK_BYTES
        readline = self._text.readline
        for line in itertools.chain(self._again, iter(lambda: readline(_LONGEST_LINE), b"")):
            self.lines.append(line)
            left -= len(line)
            if not self._n_before and len(self.lines) == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)  # noqa: PLW2901 - what is given out
            if self.is_mended:
                line = _SPACE_AFTER_COLON.sub(b":", line)  # noqa: PLW2901
            self.given = line
            if len(line) == _LONGEST_LINE:
                raise self.error(-1, f"more than {_LONGEST_LINE:,} bytes")
            yield line
            if left <= 0:
                return

    def refuse_misread(self) -> None:
        """Refuse what scikit-learn reads without a word: 1_0 as 10, and any qid."""
        text = b"".join(self.lines)
        if b"_" not in text and not _WRONG_QID.search(text):
            return
        for k, line in enumerate(self.lines):
            if b"_" in line or _WRONG_QID.search(line):
                mended = _SPACE_AFTER_COLON.sub(b":", line.removeprefix(_BYTE_ORDER_MARK))
                says = _fault(mended, self.first)
                if says is not None:
                    raise self.error(k, says)

    def error(self, k: int, says: str) -> InvalidDataError:
        """Return the error of a line of the block; -1: the last one given out."""
        number = self._n_before + range(1, len(self.lines) + 1)[k]
        shown = _show(self.lines[k].strip())
        found = "" if shown in says else f"; got {shown}"
        return InvalidDataError(f"{self._name}, line {number} has {says}{found}")

    def error_of_row(self, row: int, says: str) -> InvalidDataError:
        """Return the error of a row of the block."""
        holds = [
            k
            for k, line in enumerate(self.lines)
            if line.removeprefix(_BYTE_ORDER_MARK).partition(b"#")[0].strip()
        ]
        return self.error(holds[row], says)


def _parsed(parse: _Parse, block: _Block) -> tuple[Any, npt.NDArray[np.float64]]:
    """Return the rows of the block with the indices of the file."""
    try:
        rows = parse(block)
    except InvalidDataError:
        raise
    except _PARSE_ERRORS as error:
        # scikit-learn has parsed each line before it asks for the next: it is the last one.
        if not block.is_mended and _SPACE_AFTER_COLON.search(block.given):
            block.mend()
            return _parsed(parse, block)
        block.refuse_misread()
        says = _fault(block.given, block.first) or f"what scikit-learn cannot read ({error})"
        raise block.error(-1, says) from error
    block.refuse_misread()
    return rows


def _check(block: _Block, X: Any, y: _Array, n_features: int | None, unknown: str) -> None:
    """Refuse indices that are out of range, and values that are not finite."""
    first = block.first
    most = _LARGEST_INDEX
    beyond = ""
    if n_features is not None and unknown == "refuse":
        most = n_features - 1 + first
        beyond = (
            f", the last of {n_features} features; for more, read all files with "
            "ht.read_data(path, n_features=...), or leave such elements out with "
            'unknown="ignore"'
        )
    for is_wrong, says in (
        (X.indices < first, f"the index 0, but indices count from 1; {_COUNTS_FROM_0}"),
        (X.indices > most, f"an index beyond {most}{beyond}"),
        (~np.isfinite(X.data), "a value that is NaN, infinite or too large for float32"),
    ):
        if is_wrong.any():
            row = int(np.searchsorted(X.indptr, np.argmax(is_wrong), side="right")) - 1
            raise block.error_of_row(row, says)
    is_number = np.isfinite(y)
    if not is_number.all():
        raise block.error_of_row(int(np.argmin(is_number)), "a label that is NaN or infinite")


def _fault(line: bytes, first: int) -> str | None:
    """Return a text about the fault of a line; None if no fault is found."""
    parts = line.partition(b"#")[0].split()
    if not parts:
        return None
    label, *pairs = parts
    if not _is_number(label):
        return (
            f"{_show(label)} in place of the label, which must be a number "
            "(any, such as 0, if it is not known)"
        )
    if pairs and _QID.fullmatch(pairs[0]):
        pairs = pairs[1:]
    last = -1
    for pair in pairs:
        text, colon, value = pair.partition(b":")
        if not colon or not text.lstrip(b"+-").isdigit() or not _is_number(value):
            return f"{_show(pair)} in place of index:value"
        with contextlib.suppress(ValueError):  # of more digits than Python reads
            index = int(text)
            if 0 <= index <= _LARGEST_INDEX:
                if index <= last:
                    return f"the index {index} after {last}; the indices of a row must increase"
                last = index
                continue
        return f"the index {_show(text)}, outside {first} .. {_LARGEST_INDEX}"
    return None


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return b"_" not in text


def _show(text: bytes) -> str:
    shown = repr(text[:_SHOWN].decode("utf-8", "replace"))[1:-1]
    is_whole = len(text) <= _SHOWN and len(shown) <= _SHOWN
    return f"'{shown}'" if is_whole else f"'{shown[:_SHOWN]}...'"
