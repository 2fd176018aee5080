# SPDX-License-Identifier: BSD-3-Clause
"""Data in files: svmlight text, SciPy's .npz, and directories of .npy files."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from hybridtrain.arguments import require_int, shown
from hybridtrain.data.arrays import require_unmasked
from hybridtrain.data.numpy_files import load_npy, load_npz
from hybridtrain.data.pandas_frames import frame_rows, is_frame
from hybridtrain.data.sources import source_name
from hybridtrain.data.sparse_arrays import compressed, sound_csr, summed
from hybridtrain.data.svmlight import read_svmlight
from hybridtrain.data.targets import require_present
from hybridtrain.data.unknown import Unknown, checked_unknown, leave_out
from hybridtrain.errors import InvalidDataError, InvalidSettingError, needing_memory
from hybridtrain.paths import path_text
from hybridtrain.writing import writing

_Path = str | os.PathLike[str]
_MOST_PACKED = 16 << 30  # bytes of a packed .npz, unpacked, unless `max_bytes` says otherwise
_MOST_FEATURES = (1 << 63) - 1  # that SciPy takes; how many are trained on is for others to say
_CSR_FILES = ("data.npy", "indices.npy", "indptr.npy")
_CSR_KINDS = ("fiub", "iu", "iu")
_OTHER_FORMATS = {
    ".npy": "one array; put X.npy and y.npy into a directory and give that",
    ".csv": "a table; read it with pandas and give (frame, y)",
    ".tsv": "a table; read it with pandas and give (frame, y)",
    ".parquet": "a table; read it with pandas and give (frame, y)",
}


class FileRows(tuple[Any, "npt.NDArray[Any] | None"]):
    """Hold the pair (X, y) of a file, and how the file was read.

    Attributes
    ----------
    name : str
        The name of the file.
    reading : dict
        "format": "svmlight", "npz" or "directory"; for svmlight also "zero_based".
    unknown : Unknown
        The elements that were left out because their features are beyond `n_features`.
    """

    name: str
    reading: dict[str, Any]
    unknown: Unknown

    @classmethod
    def of(cls, X: Any, y: Any, name: str, reading: dict[str, Any], unknown: Unknown) -> FileRows:
        """Return the pair."""
        rows = cls((X, y))
        rows.name, rows.reading, rows.unknown = name, reading, unknown
        return rows


def reading_of(data: Any) -> dict[str, Any] | None:
    """Return how data were read; None for arrays, which have no file."""
    return data.reading if isinstance(data, FileRows) else None


@needing_memory("reading the rows")
def read_data(
    path: _Path | BinaryIO,
    *,
    n_features: int | None = None,
    labels: _Path | None = None,
    zero_based: bool = False,
    unknown: str = "refuse",
    max_bytes: int | None = None,
) -> FileRows:
    r"""Read rows and labels from a file or a directory.

    Parameters
    ----------
    path : path-like
        A directory holds ``data.npy``, ``indices.npy``, ``indptr.npy`` and perhaps
        ``shape.npy`` (CSR), or ``X.npy`` (dense), and ``y.npy``. It is mapped into
        memory, so its rows may be larger than memory.
        ``NAME.npz`` is a matrix written by `scipy.sparse.save_npz`, with the labels in
        ``NAME.y.npy`` beside it.
        Any other name, or a file open in binary mode, is svmlight text, plain or packed
        by gzip, bzip2, xz, lzma, zstandard or zip (one member). It is read once, so it
        may be a pipe. Text needs the extra ``files`` (scikit-learn).
    n_features : int, optional
        The number of columns to expect. More columns are refused. If the format does
        not state the number (svmlight text, a directory without ``shape.npy``), missing
        columns are added.
    labels : path-like, optional
        The ``.npy`` file of the labels, if it has another name.
    zero_based : bool
        For svmlight text: indices count from 0 instead of 1, as in files of
        scikit-learn's ``dump_svmlight_file``.
    unknown : "refuse" or "ignore"
        Whether to refuse elements beyond `n_features` or to leave them out; they are
        features that training never saw. Dense rows with such columns are refused.
    max_bytes : int, optional
        The most unpacked bytes of text or of a packed .npz, so that a small file
        cannot fill the memory. None: 16 GiB; for text the free memory if that is
        more.

    Returns
    -------
    The pair (X, y), which `train` accepts. The model then keeps how the file was read
    (``result.settings["reading"]``).

    X : CSR (n_rows, n_features), or for ``X.npy`` a dense array
        Has the types of the file; from svmlight text, float32 with int32 indices.
    y : array (n_rows,) or None
        None when there is no file of labels; from svmlight text, float64.

    Raises
    ------
    InvalidDataError
        When a file is broken or does not match another; the message names the
        file, and for text the line.
    MissingPackageError
        For svmlight text without scikit-learn.
    OutOfMemoryError
        When the rows do not fit into memory.
    OSError
        When a file does not exist or cannot be read.

    See Also
    --------
    save_directory : writes what this maps.

    Examples
    --------
    >>> import pathlib, tempfile, hybridtrain as ht
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "two.svm"
    >>> _ = file.write_text("1 1:0.5 4:2\n-1 2:1\n")
    >>> X, y = ht.read_data(file)
    >>> X.shape, y.tolist()
    ((2, 4), [1.0, -1.0])
    """
    checked_unknown(unknown)
    if max_bytes is not None:
        max_bytes = require_int("max_bytes", max_bytes, least=1)
    if n_features is not None:
        n_features = require_int("n_features", n_features, least=1)
    as_text = partial(
        _read_text,
        n_features=n_features,
        zero_based=zero_based,
        unknown=unknown,
        max_bytes=max_bytes,
    )
    if not isinstance(path, str | os.PathLike):
        if not hasattr(path, "read"):
            raise InvalidSettingError(f"path must be a path or an open file, got {path!r}")
        return as_text(path, labels)
    path = Path(path_text(path))
    if path.is_dir():
        kind, X = "directory", _read_directory(path, n_features)
        labels = path / "y.npy" if labels is None else Path(path_text(labels))
    elif path.suffix == ".npz":
        kind, X = "npz", load_npz(path, most_bytes=max_bytes or _MOST_PACKED)
        labels = path.with_suffix(".y.npy") if labels is None else Path(path_text(labels))
    elif path.suffix in _OTHER_FORMATS:
        raise InvalidDataError(
            "a path must be a directory of .npy files, an .npz file or svmlight text; "
            f"{path} is {_OTHER_FORMATS[path.suffix]}"
        )
    else:
        return as_text(path, labels)
    y = _read_labels(labels, path, X.shape[0])
    if kind == "npz":
        X = _npz_rows(X, path)
    left_out = Unknown()
    if n_features is not None and X.shape[1] != n_features:
        X, left_out = _narrowed(X, path, n_features, unknown)
    return FileRows.of(X, y, str(path), {"format": kind}, left_out)


def _read_text(
    source: _Path | BinaryIO,
    labels: _Path | None,
    *,
    n_features: int | None,
    zero_based: bool,
    unknown: str,
    max_bytes: int | None,
) -> FileRows:
    name = source_name(source)
    if labels is not None:
        raise InvalidSettingError(f"{name} must hold its labels itself, got labels={labels!r}")
    X, y, left_out = read_svmlight(
        source,
        n_features=n_features,
        zero_based=zero_based,
        unknown=unknown,
        max_bytes=max_bytes,
    )
    reading = {"format": "svmlight", "zero_based": bool(zero_based)}
    return FileRows.of(X, y, name, reading, left_out)


def _narrowed(X: Any, path: Path, n_features: int, unknown: str) -> tuple[Any, Unknown]:
    """Leave unknown features out, or refuse them."""
    is_csr = getattr(X, "format", None) == "csr"
    if unknown == "refuse" or not is_csr or X.shape[1] < n_features:
        advice = ""
        if is_csr and X.shape[1] > n_features:
            advice = '; to leave the others out use unknown="ignore"'
        raise InvalidDataError(f"{path} must have {n_features} features, got {X.shape[1]}{advice}")
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    n_elements = min(len(X.data), len(X.indices))
    if X.indptr.min(initial=0) < 0 or X.indptr.max(initial=0) > n_elements:
        raise InvalidDataError(f"{path}: row pointers must be in 0 .. {n_elements}")
    n_rows = X.shape[0]
    values, indices, pointers, left_out = leave_out(
        X.data[:n_elements], X.indices[:n_elements], X.indptr, n_features
    )
    matrix = sparse.csr_matrix((n_rows, n_features), dtype=np.float32)
    matrix.data, matrix.indices, matrix.indptr = values, indices, pointers
    return matrix, left_out


def files_read(path: str) -> dict[str, str]:
    """Return the real names of the files that `read_data` reads for a path, and how it does."""
    others = []
    if os.path.isdir(path):
        names = "X.npy", *_CSR_FILES, "shape.npy", "y.npy"
        others = [os.path.join(path, name) for name in names]
    elif path.endswith(".npz"):
        others = [f"{path.removesuffix('.npz')}.y.npy"]
    read = {os.path.realpath(other): f"read with {path}" for other in others}
    return read | {os.path.realpath(path): f"read as {path}"}


def save_directory(path: _Path, X: Any, y: Any = None) -> None:
    """Write data as a directory of .npy files that `read_data` maps into memory.

    Parameters
    ----------
    path : path-like
        A directory that does not exist or is empty.
    X : SciPy sparse matrix, dense array or pandas frame (n_rows, n_features)
        Stored as float32, sparse ones as CSR with sorted int32 indices.
    y : array-like (n_rows,), optional
        Labels or numbers; no Python objects.

    Raises
    ------
    InvalidDataError
        When X is no matrix of real numbers, y does not match it, or the
        directory holds something.
    OSError
        When it cannot be written.

    Notes
    -----
    Training reads the rows from the files once an epoch. A slow disk then decides the
    speed of training. To write rows larger than memory, fill files of these names piece
    by piece (`numpy.lib.format.open_memmap`).
    """
    path = Path(path_text(path))
    X, arrays = _arrays(X)
    if y is not None:
        require_present(y)
        labels = np.asarray(y)
        if labels.dtype.kind == "O":  # text as Python objects, as in a pandas column
            labels = np.asarray(labels.tolist())
        if labels.dtype.kind == "O" or labels.shape != (X.shape[0],):
            raise InvalidDataError(
                f"y must hold {X.shape[0]} numbers or texts, one for each row of X, "
                f"got {labels.dtype} of shape {labels.shape}"
            )
        arrays["y.npy"] = labels
    is_new = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise InvalidDataError(f"{path} must be a new or empty directory, it holds files")
    try:
        with contextlib.ExitStack() as stack:
            # The first is renamed last: without it nobody takes the others for a whole directory.
            files = {name: stack.enter_context(writing(path / name)) for name in arrays}
            for name, array in arrays.items():
                _write_npy(files[name], array)
    except BaseException:
        for name in arrays:
            (path / name).unlink(missing_ok=True)
        if is_new:
            path.rmdir()
        raise


def _write_npy(file: BinaryIO, array: npt.NDArray[Any]) -> None:
    """Write an array so that a full disk is the system's error, which `np.save` hides."""
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.reshape(-1).view(np.uint8).data)


def _arrays(X: Any) -> tuple[Any, dict[str, npt.NDArray[Any]]]:
    """Return the matrix and its arrays by file name; the file that makes it whole is first."""
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    if is_frame(X):
        X = frame_rows(X)
    if sparse.issparse(X):
        rows = summed(compressed(X))
        return X, {
            "indptr.npy": rows.pointers,
            "data.npy": rows.values.astype(np.float32, copy=False),
            "indices.npy": rows.indices.astype(np.int32, copy=False),
            "shape.npy": np.array(rows.shape, np.int64),
        }
    require_unmasked(X)
    X = np.asarray(X)
    if X.ndim != 2 or X.dtype.kind not in "fiub":
        raise InvalidDataError(
            f"X must be a matrix of real numbers, got {X.dtype} of shape {X.shape}"
        )
    return X, {"X.npy": np.ascontiguousarray(X, dtype=np.float32)}


def _read_directory(path: Path, n_features: int | None) -> Any:
    present = {name for name in ("X.npy", *_CSR_FILES) if (path / name).is_file()}
    if present == {"X.npy"}:
        return load_npy(path / "X.npy", ndim=2)
    if present != set(_CSR_FILES):
        found = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
        raise InvalidDataError(
            f"{path} must hold either X.npy (dense) or {', '.join(_CSR_FILES)} (CSR), got {found}"
        )
    return _mapped_csr(path, n_features)


def _mapped_csr(path: Path, n_features: int | None) -> Any:
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    data, indices, pointers = (load_npy(path / name) for name in _CSR_FILES)
    for name, array, kinds in zip(_CSR_FILES, (data, indices, pointers), _CSR_KINDS, strict=True):
        if array.dtype.kind not in kinds:
            expected = "integers" if kinds == "iu" else "real numbers"
            raise InvalidDataError(f"{path / name} must hold {expected}, got {array.dtype}")
    n_rows = len(pointers) - 1
    if n_rows < 1 or not 0 <= pointers[-1] <= min(len(data), len(indices)):
        raise InvalidDataError(
            f"{path / 'indptr.npy'} must hold n_rows + 1 numbers, the last at most the length of "
            f"data.npy ({len(data)}) and indices.npy ({len(indices)}), got {len(pointers)} numbers"
            + (f", the last {pointers[-1]}" if len(pointers) else "")
        )
    if (path / "shape.npy").is_file():
        sides = load_npy(path / "shape.npy", mapped=False)
        shape = tuple(sides.tolist())
        is_shape = sides.dtype.kind in "iu" and len(shape) == 2 and shape[0] == n_rows
        if not is_shape or not 1 <= shape[1] <= _MOST_FEATURES:
            raise InvalidDataError(
                f"{path / 'shape.npy'} must hold n_rows and n_features as integers >= 1, with the "
                f"{n_rows} rows of indptr.npy, got {sides.dtype} {shown(shape)}"
            )
    else:
        width = int(indices.max()) + 1 if len(indices) else 1
        shape = (n_rows, max(width, n_features or 1))
    # Not through the constructor: it would widen, so copy, indices of more than 2**31 elements.
    X = sparse.csr_matrix(shape, dtype=np.float32)
    X.data, X.indices, X.indptr = data, indices, pointers
    return X


def _npz_rows(arrays: Any, path: Path) -> Any:
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    try:
        X = sound_csr(arrays)
    except InvalidDataError as error:
        raise InvalidDataError(f"{path}: {error}") from error
    return sparse.csr_array(X) if hasattr(arrays, "_is_array") else X


def _read_labels(file: Path, path: Path, n_rows: int) -> npt.NDArray[Any] | None:
    if not file.exists() and file in (path / "y.npy", path.with_suffix(".y.npy")):
        return None
    labels = load_npy(file, mapped=False)
    if len(labels) != n_rows:
        raise InvalidDataError(
            f"{file} must hold {n_rows} labels, one for each row of {path}, got {len(labels)}"
        )
    return labels
