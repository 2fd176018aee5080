# SPDX-License-Identifier: BSD-3-Clause
"""How worker processes start: as forks of this one, or as programs of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from hybridtrain._core.process import Process
from hybridtrain._core.rows import Rows
from hybridtrain._core.stream import Stream
from hybridtrain._core.sync import SyncRun
from hybridtrain.data.shared import SharedRows
from hybridtrain.errors import InvalidSettingError

_STDERR = 2
# The package's folder comes last: its neighbours must not hide modules of Python's own.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from hybridtrain.run.worker_process import main; main(sys.argv[2:])"
)


class Starter(Protocol):
    """Start the worker processes of a run."""

    def open(self) -> None:
        """Prepare what all processes need, before the first one starts."""

    def start(self, worker: int) -> Process:
        """Start a worker; it is killed when the calling thread ends.

        Raises
        ------
        OSError
            When the system refuses a process.
        """

    def close(self) -> None:
        """Give back what `open` has taken; can be called twice."""


class Forked:
    """Start workers as forks of this process; see ht_process.h."""

    def __init__(self, run: SyncRun | Stream) -> None:
        self._run = run

    def open(self) -> None:
        """Prepare nothing: a fork has all that this process has."""

    def start(self, worker: int) -> Process:
        """Fork a worker."""
        return self._run.start_process(worker)

    def close(self) -> None:
        """Give back nothing."""


class Executed:
    """Start workers as Python programs that attach to a run; see worker_process.py.

    Parameters
    ----------
    run : SyncRun or Stream
    rows : Rows
        Those of the run.
    constants : mapping
        The constants of the model, for the core.
    """

    def __init__(self, run: SyncRun | Stream, rows: Rows, constants: Mapping[str, Any]) -> None:
        self._run = run
        self._rows = rows
        self._constants = constants
        self._shared: SharedRows | None = None
        self._environment: list[bytes] = []

    def open(self) -> None:
        """Copy the rows that lie in no file.

        Raises
        ------
        InvalidSettingError
            When Python's own program is not known.
        OutOfMemoryError
            When there is no memory for the copy.
        """
        if not os.access(sys.executable or "", os.X_OK) or hasattr(sys, "frozen"):
            raise InvalidSettingError(
                "HYBRIDTRAIN_START=exec needs Python's program in sys.executable, got "
                f"{sys.executable!r}; use HYBRIDTRAIN_START=fork"
            )
        self._environment = [name + b"=" + value for name, value in os.environb.items()]
        self._shared = SharedRows(self._rows)

    def start(self, worker: int) -> Process:
        """Execute a worker."""
        assert self._shared is not None
        segment = self._run.share()
        process = Process()
        process.execute(
            [os.fsencode(word) for word in self._command(worker, segment)],
            self._environment,
            sorted({_STDERR, segment, *self._shared.fds()}),
        )
        return process

    def close(self) -> None:
        """Close the descriptors of the rows."""
        if self._shared is not None:
            self._shared.close()

    def _command(self, worker: int, segment: int) -> list[str]:
        assert self._shared is not None
        words = {
            "parent": os.getpid(),
            "segment": segment,
            "worker": worker,
            "loss": self._constants["loss"],
            "loss_parameter": float(self._constants["loss_parameter"]).hex(),
            "n_classes": self._constants["n_classes"],
            "n_features": self._rows.shape[1],
            "n_hot": self._rows.n_hot,
            "mapped": self._rows.mapped,
        }
        for name, place in self._shared.places.items():
            words[name] = f"{place.fd}:{place.offset}:{place.nbytes}"
        folder = str(Path(__file__).absolute().parents[2])
        python = [sys.executable, "-I", "-S", "-c", _PROGRAM, folder]
        return [*python, *(f"{name}={value}" for name, value in words.items())]
