# SPDX-License-Identifier: BSD-3-Clause
"""NumPy's files, whose headers are checked against their sizes before memory is taken."""

from __future__ import annotations

import io
import math
import os
import stat
import zipfile
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from hybridtrain.errors import InvalidDataError, is_systems, reason_of

_Array = npt.NDArray[Any]
_Header = tuple[tuple[int, ...], bool, np.dtype[Any]]
_SPARSE_FORMATS = ("csr", "csc", "bsr", "dia", "coo")
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def load_npy(file: str | os.PathLike[str], *, mapped: bool = True, ndim: int = 1) -> _Array:
    """Read or map one array.

    Parameters
    ----------
    file : path-like
        A .npy file; no Python objects.
    mapped : bool
        Whether to map it into memory, read-only.
    ndim : int
        The number of dimensions that it must have.

    Raises
    ------
    InvalidDataError
        When the file is not such an array, or is shorter than its header says.
    OSError
        When the file cannot be read.
    """
    try:
        with open(file, "rb") as opened:
            _require_regular(opened)
            shape, _, dtype = _header(opened)
            there, needed = os.fstat(opened.fileno()).st_size - opened.tell(), _nbytes(shape, dtype)
            if needed > there:
                raise ValueError(f"{needed} bytes belong to its shape {shape}, it has {there}")
        array: _Array = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as error:  # damaged files fail in many ways
        if is_systems(error):
            raise
        raise InvalidDataError(
            f"{os.fspath(file)} is no whole .npy file of numbers or text: {reason_of(error)}"
        ) from error
    if array.ndim != ndim:
        raise InvalidDataError(
            f"{os.fspath(file)} must hold one array of {ndim} dimension(s), got shape {array.shape}"
        )
    return array


def load_npz(file: str | os.PathLike[str], *, most_bytes: int) -> Any:
    """Return the arrays of a file of `scipy.sparse.save_npz`, with checked sizes.

    SciPy's own `load_npz` trusts the arrays.

    Parameters
    ----------
    file : path-like
    most_bytes : int
        The most bytes of all compressed members, unpacked.

    Returns
    -------
    object
        Has the attributes of a sparse matrix: the arrays, `format` and `shape`. Only
        their sizes are checked.

    Raises
    ------
    InvalidDataError
        When it is something else.
    OSError
        When it cannot be read.
    """
    try:
        with open(file, "rb") as opened:
            _require_regular(opened)
            _check_npz(opened, most_bytes=most_bytes)
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        form = arrays.pop("format").item()
        form = form.decode("ascii", "replace") if isinstance(form, bytes) else form
        if form not in _SPARSE_FORMATS:
            raise ValueError(f"its format is none of {', '.join(_SPARSE_FORMATS)}")
        n_rows, n_features = arrays.pop("shape").tolist()
    except Exception as error:  # damaged files fail in many ways
        if is_systems(error):
            raise
        raise InvalidDataError(
            f"{os.fspath(file)} is no whole file of scipy.sparse.save_npz: {reason_of(error)}"
        ) from error
    return SimpleNamespace(**{**arrays, "format": form, "shape": (n_rows, n_features)})


def read_npz(file: BinaryIO, names: Iterable[str]) -> dict[str, _Array]:
    """Read arrays of an uncompressed .npz file, in the machine's own byte order.

    Parameters
    ----------
    file : binary file
        A file that can seek.
    names : str
        The arrays to read; others are ignored.

    Returns
    -------
    dict of name to array
        The named arrays that the file holds.

    Raises
    ------
    ValueError
        When a member is no array as large as its header says, or compressed.
    zipfile.BadZipFile
        When the file is no archive.
    """
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        held = set(archive.namelist())
        for name in names:
            if f"{name}.npy" in held:
                member = archive.getinfo(f"{name}.npy")
                _check_member(archive, member, 0)
                arrays[name] = _read_member(archive, member)
    return arrays


def _require_regular(file: BinaryIO) -> None:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise ValueError("it is a pipe or a device, arrays are read from regular files")


def _check_npz(file: BinaryIO, *, most_bytes: int) -> None:
    """Check that each member is an array as large as its header says."""
    with zipfile.ZipFile(file) as archive:
        left = most_bytes
        for member in archive.infolist():
            left -= _check_member(archive, member, left)


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most_bytes: int) -> int:
    """Check sizes, and return how much of `most_bytes` the member takes."""
    name = member.filename.removesuffix(".npy")
    is_stored = member.compress_type == zipfile.ZIP_STORED
    if is_stored and member.file_size != member.compress_size:
        raise ValueError(f"{name} has {member.compress_size} bytes, {member.file_size} are said")
    if not is_stored and member.file_size > most_bytes:
        allowed = f"at most {most_bytes} are allowed" if most_bytes else "it must not be compressed"
        raise ValueError(f"{name} has {member.file_size} bytes when unpacked; {allowed}")
    with archive.open(member) as file:
        shape, _, dtype = _header(file)
        there, needed = member.file_size - file.tell(), _nbytes(shape, dtype)
    if needed != there:
        raise ValueError(f"{name} must have {needed} bytes for its shape {shape}, it has {there}")
    return 0 if is_stored else member.file_size


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Array:
    with archive.open(member) as file:
        shape, is_fortran, dtype = _header(file)
        assert isinstance(file, io.BufferedIOBase)
        buffer = bytearray(_nbytes(shape, dtype))
        if file.readinto(buffer) != len(buffer):
            raise ValueError(f"{member.filename} is cut short")
        file.read(1)  # the end: checks the sum
    array: _Array = np.ndarray(shape, dtype, buffer, order="F" if is_fortran else "C")
    return np.ascontiguousarray(array, dtype.newbyteorder("=")).reshape(shape)


def _header(file: Any) -> _Header:
    version = np.lib.format.read_magic(file)
    if version not in _READERS:
        raise ValueError(f"its version {version} is none of {', '.join(map(str, _READERS))}")
    shape, is_fortran, dtype = _READERS[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if min(shape, default=0) < 0 or dtype.itemsize == 0:
        raise ValueError(f"it has the shape {shape} and type {dtype}")
    return shape, is_fortran, dtype


def _nbytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize
