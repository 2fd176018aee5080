# SPDX-License-Identifier: BSD-3-Clause
"""Snapshots in files: when they are written, how many are kept, which one is whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridtrain.arguments import require_int, require_positive, shown
from hybridtrain.errors import CheckpointError, InvalidSettingError, reason_of
from hybridtrain.parallel import await_end, start_thread
from hybridtrain.paths import PathLike, path_text
from hybridtrain.run.snapshot import Snapshot, read_snapshot
from hybridtrain.writing import writing

logger = logging.getLogger(__name__)

_NAME = "{:06d}.checkpoint"
_NAMED = re.compile(r"(\d{6,})\.checkpoint")
_PART = re.compile(r"\.\d{6,}\.checkpoint\.[0-9a-f]+\.part")  # what a killed run was writing
_UNLOCKED = -2  # a lock that is taken with the first writing
_HASH = hashlib.sha256
_GLANCE_SECONDS = 0.05
_RESCUE_SECONDS = 30.0  # for which another one may write
_FRESH_SECONDS = 5.0  # the work that may be lost, since others notice a loss at other times
_PIECE = 1 << 20  # bytes that are hashed at once


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Say where and how often a run is saved while it trains.

    A checkpoint has all that the run needs to go on: parameters, the optimizer's state, the
    schedule, averages, ledger and history. It is written whole or not at all. The workers rest
    while the state is copied, and train while it is written.

    Parameters
    ----------
    path : str or path
        A folder, made if it is missing, for the checkpoints of one run.
    every_seconds : float
        Greater than 0. The run is also saved at its end, on Ctrl-C and on SIGTERM.
    keep : int
        At least 1: the newest checkpoints to keep.

    Raises
    ------
    InvalidSettingError
        When an argument is out of range.
    """

    path: PathLike
    every_seconds: float = 60.0
    keep: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", path_text(self.path))
        seconds = require_positive("every_seconds", self.every_seconds)
        object.__setattr__(self, "every_seconds", seconds)
        object.__setattr__(self, "keep", require_int("keep", self.keep, least=1))


def checked_checkpoint(
    checkpoint: Checkpoint | PathLike | None, resume: bool | PathLike
) -> Checkpoint | None:
    """Check the arguments of `train`; a path stands for a Checkpoint.

    Raises
    ------
    InvalidSettingError
    """
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        if not isinstance(checkpoint, str | os.PathLike):
            raise InvalidSettingError(
                f"checkpoint must be a Checkpoint or the path of a folder, got {shown(checkpoint)}"
            )
        checkpoint = Checkpoint(checkpoint)
    if not isinstance(resume, bool | str | os.PathLike):
        raise InvalidSettingError(f"resume must be True, False or a path, got {shown(resume)}")
    if resume is True and checkpoint is None:
        raise InvalidSettingError("resume=True needs checkpoint=: where is the run to go on?")
    return checkpoint


def newest(path: PathLike) -> tuple[str, Snapshot]:
    """Read a checkpoint, or the newest one that is whole of a folder.

    Returns
    -------
    (str, Snapshot)
        The name of the file, and what it holds.

    Raises
    ------
    CheckpointError
        When there is none that is whole.
    OSError
        When it cannot be read.
    """
    named = path_text(path)
    files = _files(named)[::-1] if os.path.isdir(named) else [named]
    if not files:
        raise CheckpointError(f"there is no checkpoint in {named}")
    reasons = []
    for file in files:
        try:
            return file, _read(file)
        except (ValueError, LookupError, TypeError) as error:
            reasons.append(f"{file}: {reason_of(error)}")
            logger.warning("this checkpoint is damaged: %s", reasons[-1])
    raise CheckpointError(f"no checkpoint is whole: {'; '.join(reasons)}")


def _files(folder: str) -> list[str]:
    names = [name for name in os.listdir(folder) if _NAMED.fullmatch(name)]
    return [os.path.join(folder, name) for name in sorted(names, key=_number)]


def _number(name: str) -> int:
    return int(os.path.basename(name).partition(".")[0])


def _read(name: str) -> Snapshot:
    with open(name, "rb") as file:
        nbytes = os.fstat(file.fileno()).st_size - _HASH().digest_size
        if nbytes < 0:
            raise ValueError("the file is too short")
        digest, left = _HASH(), nbytes
        while left:
            piece = file.read(min(left, _PIECE))
            if not piece:
                raise ValueError("the file is too short")
            digest.update(piece)
            left -= len(piece)
        if file.read() != digest.digest():
            raise ValueError("its content does not go with its hash")
        file.seek(0)
        return read_snapshot(file, nbytes)


class Keeper:
    """Write the checkpoints of one run to a folder, and keep the newest.

    Used by the thread that called `train`; a thread of its own writes. While it is open, no
    other run writes to the folder.

    Parameters
    ----------
    checkpoint : Checkpoint
    continues : bool
        Whether the folder may have checkpoints already.

    Attributes
    ----------
    failures : list of str
        What could not be written, and why.
    pass_by : function
        Called before each writing.

    Raises
    ------
    InvalidSettingError
        When the folder has checkpoints and the run does not continue them, or when another run
        writes to it.
    OSError
        When the folder cannot be made or written to.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        continues: bool,
        is_writer: Callable[[], bool] | None = None,
    ) -> None:
        self._of = checkpoint
        self.folder = path_text(checkpoint.path)
        self._is_writer = is_writer
        os.makedirs(self.folder, exist_ok=True)
        self._lock = self._locked() if is_writer is None else _UNLOCKED
        self._process = os.getpid()
        self._thread: threading.Thread | None = None
        self._due_at = 0.0
        self._copying = self._writing = 0.0  # seconds
        self._n_written = 0
        self.failures: list[str] = []
        self.pass_by: Callable[[], None] = lambda: None  # before each writing
        try:
            files = _files(self.folder)
            if files and not continues and is_writer is None:
                raise InvalidSettingError(
                    f"{self.folder} has checkpoints of an earlier run: resume=True goes on with "
                    "it; for a new run choose another folder, or remove them"
                )
            if is_writer is None:
                self._clear()
        except BaseException:
            self.close()
            raise
        self._next = 1 + (_number(files[-1]) if files else 0)
        self._last: str | None = files[-1] if files else None

    def _clear(self) -> None:
        """Remove what a writer that died has left."""
        for name in os.listdir(self.folder):
            if _PART.fullmatch(name):
                os.unlink(os.path.join(self.folder, name))

    def _is_ours(self) -> bool:
        """Return whether this process writes now; if another does, let it have the folder."""
        if self._is_writer is None or self._is_writer():
            return True
        if self._lock >= 0:
            self.close()
            self._lock = _UNLOCKED
        return False

    def _take_over(self, seconds: float = 0.0) -> bool:
        """Become the one that writes, where several could; return whether it worked in time."""
        deadline = time.monotonic() + seconds
        while self._lock == _UNLOCKED:
            try:
                self._lock = self._locked()
            except InvalidSettingError as error:  # the one before is still writing
                if time.monotonic() < deadline:
                    time.sleep(_GLANCE_SECONDS)
                    continue
                self._note_failure(f"the run was not saved: {error}")
                return False
            self._clear()
            if files := _files(self.folder):
                self._next, self._last = 1 + _number(files[-1]), files[-1]
        return True

    def _locked(self) -> int:
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.folder)
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise InvalidSettingError(
                f"another run writes its checkpoints to {self.folder}: choose another folder"
            ) from None
        except OSError:
            logger.info("%s is on a file system without locks", self.folder)
        return handle

    @property
    def has_files(self) -> bool:
        """Whether the folder has checkpoints."""
        return self._last is not None

    def start(self) -> None:
        """Count the seconds to the next checkpoint from now."""
        self._due_at = time.monotonic() + self._of.every_seconds

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint, and the last one was written."""
        if not self._is_ours():
            return False
        is_writing = self._thread is not None and self._thread.is_alive()
        return time.monotonic() >= self._due_at and not is_writing

    def keep(self, copy: Callable[[], Snapshot | None], *, is_last: bool = False) -> None:
        """Copy the state of the run, and write it: at once if it is the last one."""
        if os.getpid() != self._process:  # a fork's copy
            return
        self._await()
        if not (self._is_ours() and self._take_over()):
            self.start()
            return
        began = time.perf_counter()
        try:
            snapshot = copy()
        except MemoryError as error:  # the run is worth more than its checkpoint
            snapshot = None
            self._note_failure(f"the run was not saved: {reason_of(error)}")
        self._copying += time.perf_counter() - began
        if snapshot is None:
            self.start()
            return
        self._thread = threading.Thread(
            target=self._write, args=(snapshot,), name="hybridtrain-checkpoint", daemon=True
        )
        if is_last or start_thread(self._thread) is not None:
            self._thread = None
            self._write(snapshot)
        self.start()

    def rescue(self, copy: Callable[[], Snapshot | None]) -> None:
        """Save a run that is over for all who could write, unless one of them just has."""
        self._await()
        self._is_writer = None  # nobody says who it is
        try:
            if not self._take_over(_RESCUE_SECONDS):
                return
            saved_at = max((os.path.getmtime(file) for file in _files(self.folder)), default=0.0)
            if time.time() - saved_at > _FRESH_SECONDS:
                self.keep(copy, is_last=True)
        except OSError as error:
            self._note_failure(f"the run was not saved: {reason_of(error)}")

    def _await(self) -> None:
        if self._thread is not None:
            await_end([self._thread])
            self._thread = None

    def _note_failure(self, said: str) -> None:
        self.failures.append(said)
        logger.warning("%s", said)

    def _write(self, snapshot: Snapshot) -> None:
        began = time.perf_counter()
        name = os.path.join(self.folder, _NAME.format(self._next))
        try:
            self.pass_by()
            digest = _HASH()
            with writing(name) as file:
                for piece in snapshot.pieces():
                    digest.update(piece)
                    file.write(piece)
                file.write(digest.digest())
            for old in _files(self.folder)[: -self._of.keep]:
                with contextlib.suppress(OSError):
                    os.unlink(old)
        except Exception as error:  # as above
            self._note_failure(f"{name} was not written: {reason_of(error)}")
        else:
            self._next, self._last = self._next + 1, name
            self._n_written += 1
        self._writing += time.perf_counter() - began

    def summary(self) -> dict[str, Any]:
        """Return what the result's settings say of the checkpoints, once all are written."""
        self._await()
        return {
            "path": self.folder,
            "last": None if self._last is None else Path(self._last).name,
            "written": self._n_written,
            "failed": len(self.failures),
            "copying_seconds": self._copying,
            "writing_seconds": self._writing,
        }

    def close(self) -> None:
        """Wait for what is being written, and let others have the folder; can be repeated."""
        if self._lock >= 0 and os.getpid() == self._process:
            self._await()
            lock, self._lock = self._lock, -1
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_UN)  # a child that was forked meanwhile has it, too
            os.close(lock)


def require_folder(checkpoint: Checkpoint | PathLike | None, resume: bool | PathLike) -> None:
    """Refuse a folder that a run could not write to, or that another one writes to.

    Raises
    ------
    InvalidSettingError, OSError
        As `Keeper`.
    """
    checked = checked_checkpoint(checkpoint, resume)
    if checked is not None:
        Keeper(checked, continues=resume is not False).close()
