"""Programs of several processes of which one may be killed: the frame of the peers of test_kill.py.

A program gets a folder as its last word. It reads job.json there, and X.npy and y.npy from the
folder that job.json names as `data`. When all of its workers are ready to train, it writes
start.json: `at`, the seconds of time.monotonic(), and `victim`, a worker's number. At its end
it writes coef.npy, intercept.npy and end.json: `at`, the last step's time, `rows`, how many
entered the model, and `fate`, what it did about a death.

A program that takes longer than a limit is ended and said to hang.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

_LIMIT_SECONDS = 90.0
_LOOK_SECONDS = 0.002
_MARK = "HYBRIDTRAIN_BENCH_FOLDER"  # in the environment of a program and of what it starts


def run(command: list[str], job: Mapping[str, Any], kill_after: float | None) -> dict[str, Any]:
    """Run a program, and kill its victim when it has trained for so many seconds.

    Returns
    -------
    dict
        `seconds` from `start` to `end`, `coef`, `intercept`, `rows` and `fate`. Without a
        model `seconds` is NaN and the arrays are missing. `killed`: whether the victim was
        seen to die by our signal before the end.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(job))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, name],
                stdout=log,
                stderr=log,
                env={**os.environ, _MARK: name},
                start_new_session=True,
            )
        limit = time.monotonic() + _LIMIT_SECONDS
        try:
            start = _await_start(process, folder, limit)
            killed = kill_after is not None and _kill(start, kill_after, folder)
            with suppress(subprocess.TimeoutExpired):
                process.wait(limit - time.monotonic())
            return {**_found(process, folder, start), "killed": killed}
        finally:
            _end(process, name)


def _await_start(process: subprocess.Popen[bytes], folder: Path, limit: float) -> dict[str, Any]:
    while not (folder / "start.json").exists():
        said = (folder / "log").read_text(errors="replace")
        assert process.poll() is None, said
        assert time.monotonic() < limit, f"a program that does not begin:\n{said}"
        time.sleep(_LOOK_SECONDS)
    start: dict[str, Any] = json.loads((folder / "start.json").read_text())
    return start


def _kill(start: Mapping[str, Any], kill_after: float, folder: Path) -> bool:
    time.sleep(max(0.0, start["at"] + kill_after - time.monotonic()))
    try:
        victim = os.pidfd_open(start["victim"])
    except ProcessLookupError:
        return False
    try:
        is_over = (folder / "end.json").exists()
        signal.pidfd_send_signal(victim, signal.SIGKILL)
        has_died = bool(select.select([victim], [], [], 10.0)[0])
        return has_died and not is_over
    finally:
        os.close(victim)


def _found(
    process: subprocess.Popen[bytes], folder: Path, start: Mapping[str, Any]
) -> dict[str, Any]:
    nothing = {"seconds": math.nan, "rows": math.nan}
    if process.poll() is None:
        return {**nothing, "fate": "hangs"}
    if process.returncode:
        said = (folder / "log").read_text(errors="replace").splitlines()
        errors = [line for line in said if "Error" in line] or [f"status {process.returncode}"]
        return {**nothing, "fate": f"ends without a model: {errors[-1]}"}
    end = json.loads((folder / "end.json").read_text())
    arrays = {name: np.load(folder / f"{name}.npy") for name in ("coef", "intercept")}
    return {**arrays, **end, "seconds": end["at"] - start["at"]}


def _end(process: subprocess.Popen[bytes], name: str) -> None:
    """End a program and all that it has started, of which some are in sessions of their own."""
    mark = f"{_MARK}={name}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
    process.wait()
