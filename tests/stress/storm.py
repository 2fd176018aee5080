# SPDX-License-Identifier: BSD-3-Clause
"""Real signals at random times, into loops of fits, the command line and a notebook kernel.

    python tests/stress/storm.py --sigints 500 --sigterms 200 --seed 1

prints how many of each came to what, and ends with 1 if a process crashed or hung, a
result was lost, a model does not load, or a ledger does not add up.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from storm_loop import fault_of

import hybridtrain as ht

LOOP = Path(__file__).with_name("storm_loop.py")
LOOPS = [(s, w, n) for n in ("short", "long") for s in ("hybrid", "sync") for w in (2, 8)]
HANG_SECONDS = 60.0
CLI_EPOCHS = 400
LEAST_SIGNALS = 2  # of a kind


class Storm:
    """What the signals came to.

    Parameters
    ----------
    seed : int
        Of the times.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.faults: list[str] = []

    def note(self, where: str, number: int, outcome: str, fault: str = "") -> None:
        """Count a signal's outcome."""
        name = signal.Signals(number).name
        self.counts[where, name, outcome] += 1
        if fault:
            self.faults.append(f"{where}, {name}, {outcome}: {fault}")

    def loop(self, kind: tuple[str, int, str], numbers: list[int]) -> None:
        """Send signals to a loop of fits."""
        where = " ".join(map(str, kind))
        process = subprocess.Popen(
            [sys.executable, str(LOOP), *map(str, kind)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Threads of the library would take the signals that the loop blocks.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            lines = _Lines(process)
            lines.next()  # the first run is done
            for number in numbers:
                time.sleep(self.rng.uniform(0.0, 0.05))
                lines.forget()
                process.send_signal(number)
                outcome, fault = lines.next_interrupted()
                self.note(where, number, outcome, fault)
        except (EOFError, TimeoutError) as error:
            process.kill()
            _, err = process.communicate(timeout=10)
            self.faults.append(f"{where}: {error!r}\n{err.decode()[-2000:]}")
        finally:
            process.kill()
            process.communicate(timeout=10)

    def command_line(self, numbers: list[int], folder: Path) -> None:
        """Send each signal to a training of its own, over a model that is there."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((20_000, 10)).astype(np.float32)
        ht.save_directory(folder / "rows", X, X[:, 0] > 0)
        target = folder / "model.npz"
        words = ["-m", "hybridtrain", "train", str(folder / "rows"), "--save", str(target)]
        command = [sys.executable, *words, "--epochs", str(CLI_EPOCHS), "--workers", "2"]
        started = time.monotonic()
        subprocess.run(command, capture_output=True, timeout=HANG_SECONDS, check=True)
        seconds = time.monotonic() - started
        for number in numbers:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            try:
                time.sleep(self.rng.uniform(0.0, 1.1 * seconds))
                process.send_signal(number)
                _, err = process.communicate(timeout=HANG_SECONDS)
                fault = _fault_of_end(process.returncode, number, err) or _fault_of_model(target)
                self.note("command line", number, str(process.returncode), fault)
            except subprocess.TimeoutExpired:
                self.faults.append("command line: it hangs")
            finally:
                process.kill()
                process.communicate(timeout=10)

    def kernel(self, n_signals: int) -> None:
        """Interrupt a cell that trains; the kernel must go on."""
        from jupyter_client.manager import start_new_kernel  # noqa: PLC0415 - optional

        manager, client = start_new_kernel(kernel_name="python3")
        try:
            _run_cell(client, f"import sys; sys.path.insert(0, {str(LOOP.parent)!r})")
            _run_cell(client, "import hybridtrain as ht, numpy as np; from storm_loop import *")
            _run_cell(client, "X = np.random.default_rng(0).standard_normal((9000, 9), np.float32)")
            for _ in range(n_signals):
                sent = client.execute(_CELL)
                time.sleep(0.2 + self.rng.uniform(0.0, 0.3))
                manager.interrupt_kernel()
                reply = _reply(client, sent)
                outcome = reply.get("ename", reply["status"])
                is_ours = outcome in ("TrainingInterrupted", "KeyboardInterrupt", "aborted")
                fault = "" if is_ours else reply.get("evalue", "it ended by itself")
                self.note("kernel", signal.SIGINT, outcome, fault)
                _run_cell(client, "1")  # it goes on
        except (TimeoutError, RuntimeError) as error:
            self.faults.append(f"kernel: {error!r}")
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)

    def report(self) -> str:
        """Return the counts as lines."""
        lines = [f"{n:>6}  {' | '.join(key)}" for key, n in sorted(self.counts.items())]
        return "\n".join([*lines, *(f"FAULT {fault}" for fault in self.faults)])


class _Lines:
    """What a loop tells, a line at a time and within a deadline."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._process, self._file, self._rest = process, process.stdout.fileno(), b""

    def next(self) -> tuple[str, str]:
        """Return the next outcome and fault."""
        deadline = time.monotonic() + HANG_SECONDS
        while b"\n" not in self._rest:
            self._read(max(0.0, deadline - time.monotonic()))
        line, _, self._rest = self._rest.partition(b"\n")
        outcome, fault = json.loads(line)
        return outcome, fault

    def next_interrupted(self) -> tuple[str, str]:
        """Return the outcome of the run that a signal met, or a fault before it."""
        deadline = time.monotonic() + HANG_SECONDS
        while time.monotonic() < deadline:
            outcome, fault = self.next()
            if outcome != "done" or fault:
                return outcome, fault
        raise TimeoutError("no run was interrupted")

    def forget(self) -> None:
        """Skip the outcomes that were told so far."""
        while select.select([self._file], [], [], 0.0)[0]:
            self._read(0.0)
        self._rest = self._rest.rpartition(b"\n")[2]

    def _read(self, seconds: float) -> None:
        if not select.select([self._file], [], [], seconds)[0]:
            raise TimeoutError("it hangs")
        part = os.read(self._file, 1 << 16)
        if not part:
            raise EOFError(f"it ended with {self._process.wait(HANG_SECONDS)}")
        self._rest += part


_CELL = """
while True:
    fault = ""
    try:
        result = ht.train(ht.Linear(), (X, X[:, 0] > 0), workers=2, epochs=20, progress=False)
    except ht.TrainingInterrupted as error:
        fault = fault_of(error.result, 9000)
        if fault:
            raise RuntimeError(fault)
        raise
"""


def _fault_of_end(code: int, number: int, err: str) -> str:
    if code not in (0, 128 + number, -number):  # -: before or after the program's own lines
        # Python's own start, before any line of the package, shows a traceback of its own.
        is_start = code == 1 and "KeyboardInterrupt" in err and "hybridtrain/" not in err
        return "" if is_start else f"exit code {code}: {err[-2000:]!r}"
    return f"a traceback: {err[-2000:]}" if "Traceback" in err and "hybridtrain/" in err else ""


def _fault_of_model(path: Path) -> str:
    try:
        return fault_of(ht.load(path), 20_000)
    except Exception as error:  # whatever it is, it is the fault
        return f"the model does not load: {error!r}"


def _reply(client: Any, sent: str) -> dict[str, Any]:
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):  # an empty queue
            message = client.get_shell_msg(timeout=1.0)
            if message["parent_header"].get("msg_id") == sent:
                content: dict[str, Any] = message["content"]
                return content
    raise TimeoutError("the kernel does not answer")


def _run_cell(client: Any, code: str) -> None:
    """Run a cell; again while the kernel drops what was sent after an error."""
    reply = {"status": "aborted"}
    while reply["status"] == "aborted":
        reply = _reply(client, client.execute(code))
    if reply["status"] != "ok":
        raise RuntimeError(f"{code}: {reply.get('evalue')}")


def has_kernel() -> bool:
    """Whether a notebook kernel can be started here."""
    return all(importlib.util.find_spec(name) for name in ("ipykernel", "jupyter_client"))


def storm(sigints: int, sigterms: int, seed: int) -> Storm:
    """Send the signals: seven tenths to loops, two to the command line, one to a kernel."""
    result = Storm(seed)
    # A shell ignores it in what it starts with ``&``: so would the processes, which inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    numbers = [signal.SIGINT] * sigints + [signal.SIGTERM] * sigterms
    n_kernel = max(LEAST_SIGNALS, sigints // 10) if has_kernel() else 0
    numbers = numbers[n_kernel:]  # a kernel is interrupted by SIGINT
    result.rng.shuffle(numbers)
    n_command = max(LEAST_SIGNALS, len(numbers) // 5)
    with tempfile.TemporaryDirectory() as folder:
        result.command_line(numbers[:n_command], Path(folder))
    for k, kind in enumerate(LOOPS):
        result.loop(kind, numbers[n_command + k :: len(LOOPS)])
    if n_kernel:
        result.kernel(n_kernel)
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sigints", type=int, default=500)
    parser.add_argument("--sigterms", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    done = storm(args.sigints, args.sigterms, args.seed)
    print(done.report())
    sys.exit(bool(done.faults))
