# SPDX-License-Identifier: BSD-3-Clause
"""svmlight text: scikit-learn reads it, and what is broken is named with its line."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from hybridtrain.errors import InvalidDataError, MissingPackageError

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
_PARSE_ERRORS = (ValueError, OverflowError)
_UNPACK_ERRORS = (EOFError, OSError, lzma.LZMAError, zlib.error)
_LARGEST_INDEX = (1 << 31) - 1
_CHUNK_LINES = 1000
_SHOWN = 60
_COUNTS_FROM_0 = "for a file that counts from 0 use ht.read_data(path, zero_based=True)"


def read_svmlight(
    path: str | os.PathLike[str], *, n_features: int | None, zero_based: bool
) -> tuple[Any, npt.NDArray[np.float64]]:
    """Read rows of ``label index:value index:value ...``.

    Comments after ``#`` and ``qid:`` are skipped; gzip, bzip2 and xz are known by
    their first bytes.

    Parameters
    ----------
    path : path-like
    n_features : int, optional
        Columns of X; None: the largest index.
    zero_based : bool
        Whether indices count from 0, not from 1.

    Returns
    -------
    X : CSR float32, int32 indices (n_rows, n_features)
    y : float64 array (n_rows,)

    Raises
    ------
    InvalidDataError
        When the file is broken; the message names file and line.
    MissingPackageError
        Without scikit-learn.
    OSError
        When the file cannot be opened or read.
    """
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    path = Path(path)
    try:
        X, y = _parse(path, zero_based)
    except _UNPACK_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's: there is no such file, it is a folder, ...
        raise InvalidDataError(
            f"{path} is compressed, but damaged or cut short: {error}"
        ) from error
    if not len(y):
        raise InvalidDataError(
            f"{path} holds no rows; svmlight text has one a line: label index:value ..."
        )
    first = 0 if zero_based else 1
    most = _LARGEST_INDEX if n_features is None else n_features - 1 + first
    beyond = (
        ""
        if n_features is None
        else (
            f", the last of {n_features} features; for more, read all files with "
            "ht.read_data(path, n_features=...)"
        )
    )
    for is_wrong, says in (
        (X.indices < first, f"the index 0, but indices count from 1; {_COUNTS_FROM_0}"),
        (X.indices > most, f"an index beyond {most}{beyond}"),
        (~np.isfinite(X.data), "a value that is NaN, infinite or too large for float32"),
    ):
        if is_wrong.any():
            row = int(np.searchsorted(X.indptr, np.argmax(is_wrong), side="right")) - 1
            raise _line_error(path, *_line_of_row(path, row), says)
    is_number = np.isfinite(y)
    if not is_number.all():
        line = _line_of_row(path, int(np.argmin(is_number)))
        raise _line_error(path, *line, "a label that is NaN or infinite")
    indices = X.indices.astype(np.int32)
    indices -= np.int32(first)
    width = n_features or max(int(indices.max(initial=0)) + 1, 1)
    matrix = sparse.csr_matrix((len(y), width), dtype=np.float32)
    matrix.data, matrix.indices, matrix.indptr = X.data, indices, X.indptr
    return matrix, y


def _parse(path: Path, zero_based: bool) -> tuple[Any, npt.NDArray[np.float64]]:
    """Return the rows with the indices of the file."""
    with _open(path):
        pass  # before the import, which takes a second: there may be no such file
    try:
        from sklearn.datasets import load_svmlight_file  # noqa: PLC0415 - an extra, 1 s at import
    except ImportError as error:
        raise MissingPackageError(
            "reading svmlight text needs scikit-learn: pip install 'hybridtrain[files]'"
        ) from error

    def parse(file: io.BufferedIOBase) -> tuple[Any, npt.NDArray[np.float64]]:
        X, y = load_svmlight_file(file, dtype=np.float32, zero_based=True)
        return X, y

    try:
        with _open(path) as file:
            return parse(file)
    except _PARSE_ERRORS as error:
        _refuse_line(path, parse, zero_based, error)


def _open(path: Path) -> io.BufferedIOBase:
    with path.open("rb") as file:
        start = file.read(6)
    packed = next((name for magic, name in _PACKED.items() if start.startswith(magic)), None)
    if packed == "gzip":
        return gzip.open(path)
    if packed == "bz2":
        return bz2.open(path)
    return lzma.open(path) if packed == "xz" else path.open("rb")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that hold a row, with their numbers from 1."""
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if line.partition(b"#")[0].strip():
                yield number, line


def _line_of_row(path: Path, row: int) -> tuple[int, bytes]:
    return next(itertools.islice(_lines(path), row, None))


def _refuse_line(
    path: Path, parse: Callable[[io.BufferedIOBase], Any], zero_based: bool, cause: Exception
) -> NoReturn:
    """Raise for the first line that the reader cannot read."""
    lines = _lines(path)
    while chunk := list(itertools.islice(lines, _CHUNK_LINES)):
        if _error_of(parse, b"".join(line for _, line in chunk)) is None:
            continue
        for number, line in chunk:
            error = _error_of(parse, line)
            if error is not None:
                says = _fault(line, zero_based) or f"what scikit-learn cannot read ({error})"
                raise _line_error(path, number, line, says) from cause
    raise InvalidDataError(f"{path} is no svmlight text: {cause}") from cause


def _error_of(parse: Callable[[io.BufferedIOBase], Any], text: bytes) -> Exception | None:
    try:
        parse(io.BytesIO(text))
    except _PARSE_ERRORS as error:
        return error
    return None


def _fault(line: bytes, zero_based: bool) -> str | None:
    """Return what is wrong with a line, None if nothing is found."""
    label, *pairs = line.partition(b"#")[0].split()
    if not _is_number(label):
        return (
            f"{_show(label)} in place of the label, which must be a number "
            "(any, such as 0, if it is not known)"
        )
    if pairs and pairs[0].startswith(b"qid:"):
        pairs = pairs[1:]
    last = -1
    for pair in pairs:
        text, colon, value = pair.partition(b":")
        if not colon or not text.lstrip(b"+-").isdigit() or not _is_number(value):
            return f"{_show(pair)} in place of index:value"
        index = int(text)
        if not 0 <= index <= _LARGEST_INDEX:
            return f"the index {_show(text)}, outside {0 if zero_based else 1} .. {_LARGEST_INDEX}"
        if index <= last:
            return f"the index {index} after {last}; the indices of a row must increase"
        last = index
    return None


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _show(text: bytes) -> str:
    shown = repr(text[:_SHOWN].decode("utf-8", "replace"))[1:-1]
    is_whole = len(text) <= _SHOWN and len(shown) <= _SHOWN
    return f"'{shown}'" if is_whole else f"'{shown[:_SHOWN]}...'"


def _line_error(path: Path, number: int, line: bytes, says: str) -> InvalidDataError:
    shown = _show(line.strip())
    found = "" if shown in says else f"; got {shown}"
    return InvalidDataError(f"{path}, line {number} has {says}{found}")
