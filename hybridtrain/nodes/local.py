# SPDX-License-Identifier: BSD-3-Clause
"""Nodes on this machine: one Python process each, which inherits the call and the data."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hybridtrain._core.attached import Mapping, MemoryFile

# The package is the one that runs here, and other modules are those that this process would import.
_PROGRAM = (
    "import json, sys; sys.path.insert(0, sys.argv[1]); import hybridtrain; "
    "sys.path[:] = json.loads(sys.argv[2]); "
    "from hybridtrain.launch.node_process import main; main(sys.argv[3:])"
)
_END_SECONDS = 1.0


class Handed:
    """What a process hands to its children: an object, whose arrays lie in memory that all map.

    Parameters
    ----------
    value : object
        Pickled; it is never sent over a network.

    Raises
    ------
    OSError
        When the system refuses the memory.
    """

    def __init__(self, value: Any) -> None:
        buffers: list[pickle.PickleBuffer] = []
        content = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        pieces: list[Any] = [content, *(buffer.raw() for buffer in buffers)]
        self.sizes = [memoryview(piece).nbytes for piece in pieces]
        self._memory = MemoryFile(sum(_padded(size) for size in self.sizes))
        at = 0
        for piece, size in zip(pieces, self.sizes, strict=True):
            if size:
                self._memory.write(piece, at)
            at += _padded(size)
        self._memory.freeze()
        self.fd = self._memory.fileno()

    def close(self) -> None:
        """Close the descriptor; children that have mapped the memory keep it."""
        self._memory.close()


def taken(fd: int, sizes: list[int]) -> Any:
    """Return what was handed: arrays are read-only, and not copied."""
    views, at = [], 0
    for size in sizes:
        views.append(memoryview(Mapping(fd, at, size) if size else b""))
        at += _padded(size)
    return pickle.loads(views[0], buffers=views[1:])


def _padded(size: int) -> int:
    """Return the bytes that a piece takes: whole lines, so that arrays are aligned."""
    return -(-max(size, 1) // 128) * 128


class LocalNode:
    """A node's process, a child of this one.

    Parameters
    ----------
    name : str
    incarnation : int
    words : dict
        What `launch/node_process.py` reads, beside the above; of those with the value None
        nothing is said.
    handed : Handed, optional
        Arguments of `train`; None: they come from the driver.
    env : dict of str, optional
        Variables of the process, beside those of this one.
    fds : sequence of int
        Descriptors that the process gets, by the same numbers.
    """

    def __init__(
        self,
        name: str,
        incarnation: int,
        words: dict[str, Any],
        handed: Handed | None,
        *,
        env: dict[str, str] | None = None,
        fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.incarnation = incarnation
        self._again = words, handed, env, fds
        said = {**words, "name": name, "incarnation": incarnation, "parent": os.getpid()}
        if handed is not None:
            said["handed"] = ":".join(map(str, [handed.fd, *handed.sizes]))
        words = {key: value for key, value in said.items() if value is not None}
        found = [os.path.abspath(path) for path in sys.path]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-c",
                _PROGRAM,
                str(Path(__file__).absolute().parents[2]),
                json.dumps(found),
                *(f"{k}={v}" for k, v in words.items()),
            ],
            stdin=subprocess.DEVNULL,
            env=None if env is None else {**os.environ, **env},
            pass_fds=[*fds] if handed is None else [*fds, handed.fd],
            process_group=0,  # a Ctrl-C at the terminal is the driver's alone
        )

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def death(self) -> str | None:
        """Return how the process has ended, in words; None: it lives."""
        code = self._process.poll()
        if code is None:
            return None
        return f"killed (signal {-code})" if code < 0 else f"ended with exit code {code}"

    def again(self) -> LocalNode:
        """Start a process in the place of this one, which has ended; it comes to the run."""
        words, handed, env, fds = self._again
        words = {**words, "comes": "late"}
        return LocalNode(self.name, new_incarnation(), words, handed, env=env, fds=fds)

    def ask_to_leave(self) -> None:
        """Ask the node to leave the run to the others; it ends soon after."""
        self._process.terminate()

    def wait(self, seconds: float) -> int | None:
        """Wait for the end of the process, and return its exit code; None: it lives."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def end(self, seconds: float = _END_SECONDS) -> None:
        """Wait for the end of the process; kill it after so many seconds."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def new_incarnation() -> int:
    """Return a name of a link that no other has."""
    return secrets.randbits(63) + 1
