# SPDX-License-Identifier: BSD-3-Clause
"""Writing a file so that its name always leads to a whole file, the old or the new."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

from hybridtrain.paths import PathLike, path_text

_MOST_NAME = 200  # bytes of the file's own name in the temporary one: 255 are allowed
_MOST_LINKS = 40  # as the kernel
_NEW_FILE = 0o666  # less what the process's umask takes away


@contextlib.contextmanager
def writing(path: PathLike) -> Iterator[BinaryIO]:
    """Open a file that replaces an older one when it is whole.

    The text or bytes go to a temporary file in the same folder, which is brought
    to the disk and renamed at the end of the ``with`` block. An exception in the block,
    Ctrl-C included, removes the temporary file and leaves the older file unchanged.

    Parameters
    ----------
    path : path-like
        The older file's permissions are kept. The file that a symbolic link points
        to is replaced, not the link. A file that is not regular (a pipe, a terminal,
        ``/dev/null``, ``/dev/stdout``) is written in place.

    Yields
    ------
    binary file

    Raises
    ------
    InvalidSettingError
        When no file can have that name.
    OSError
        When the file cannot be written; it names `path`.

    Notes
    -----
    **Thread safety.** Two processes or threads that write to one name at the same time each
    write their own temporary file; the one that ends last replaces the other.
    """
    named = path_text(path)
    target = _file_to_replace(named)
    temporary = None if target is None else _temporary_name(target)
    process = os.getpid()
    try:
        if target is None or temporary is None:
            with open(named, "wb") as file:
                yield file
            return
        file = open(temporary, "xb", opener=_new_file)  # noqa: SIM115 - closed below
        while not _hold(file, temporary):
            file.close()
            temporary = _temporary_name(target)
            file = open(temporary, "xb", opener=_new_file)  # noqa: SIM115 - as above
        with file:
            _keep_permissions(target, file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        if temporary is not None and os.getpid() == process:  # a fork's copy is not its file
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError) and error.errno and error.filename in (None, temporary):
            raise OSError(error.errno, error.strerror, named) from error
        raise
    _sync_folder(os.path.dirname(target))


def remove_abandoned(path: PathLike) -> None:
    """Remove the temporary files of `writing` to a name whose processes were killed.

    Those of living processes stay, and on a file system without locks all do.
    """
    target = _file_to_replace(path_text(path))
    if target is None:
        return
    folder = os.path.dirname(target)
    part = re.compile(re.escape(_part_of(target)) + r"[0-9a-f]+\.part")
    with contextlib.suppress(OSError):  # the folder is missing, say: `writing` tells
        for name in filter(part.fullmatch, os.listdir(folder)):
            _remove_unheld(os.path.join(folder, name))


def _remove_unheld(name: str) -> None:
    with contextlib.suppress(OSError):  # held by its process, or removed by another
        handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name)
        finally:
            os.close(handle)


def _hold(file: BinaryIO, name: str) -> bool:
    """Lock a file while it is open, against `remove_abandoned`; False: it has just removed it."""
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(file, fcntl.LOCK_EX)
    return os.path.exists(name)


def write_text(path: PathLike, text: str) -> None:
    """Write UTF-8 text; see `writing`.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    with writing(path) as file:
        file.write(text.encode())


def _file_to_replace(path: str) -> str | None:
    """Return the regular file at the end of symbolic links; None: write in place."""
    target = os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        # A link in /proc stands for an open file, not for a name: /dev/stdout is one.
        if os.path.realpath(os.path.dirname(target)).startswith("/proc/"):
            return None
        if not os.path.islink(target):
            break
        target = os.path.join(os.path.dirname(target), os.readlink(target))
    if os.path.lexists(target):
        if not stat.S_ISREG(os.stat(target).st_mode):
            return None
        with open(target, "r+b"):  # a file that is protected from writing stays
            pass
    return target


def _temporary_name(target: str) -> str:
    name = f"{_part_of(target)}{secrets.token_hex(8)}.part"
    return os.path.join(os.path.dirname(target), name)


def _part_of(target: str) -> str:
    """Return what the names of a file's temporary files begin with."""
    name = os.path.basename(target)
    return f".{os.fsdecode(os.fsencode(name)[:_MOST_NAME])}."


def _new_file(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, _NEW_FILE)


def _keep_permissions(target: str, file: BinaryIO) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.fchmod(file.fileno(), stat.S_IMODE(os.stat(target).st_mode))


def _sync_folder(folder: str) -> None:
    """Bring the new name to the disk, if the file system can; the file is whole in any case."""
    with contextlib.suppress(OSError):
        handle = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
