#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Does any input, however broken, end in something else than an error of ours or a sound model?

    python tests/fuzz/run.py --seconds 300
    python tests/fuzz/run.py --only text --seconds 60
    python tests/fuzz/run.py --case matrices:17

A case follows from the name of its kind and its seed alone. Cases run in processes of their own,
many in each: a crash or a hang is a failure of the case, and a new process goes on behind it. It
also runs on a build for AddressSanitizer, with its library in LD_PRELOAD: each of its reports is a
failure.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from fuzz.worker import HANG_SECONDS, KINDS  # noqa: E402 - found by the line above

_GRACE_SECONDS = 10  # the process itself ends a hang where it still can
_START_SECONDS = 120
_REPORT = re.compile(
    r"ERROR: \w+Sanitizer.*|\w+Sanitizer: CHECK failed.*|.*runtime error: .*|SUMMARY: .*"
)
_SHOWN_FAILURES = 200
_SHOWN_RECENT = 8  # cases before a crash, which one of them may have caused
_SHOWN = 2500  # characters of standard error


@dataclass
class Tally:
    """What came of the cases so far."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: dict[tuple[str, int], str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    hang_seconds: float = HANG_SECONDS

    def add(self, kind: str, seed: int, outcome: str, failure: str | None) -> None:
        """Count a case."""
        with self.lock:
            self.outcomes[kind, "FAILED" if failure else outcome] += 1
            if failure:
                self.failures[kind, seed] = failure


def _environment() -> dict[str, str]:
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "MALLOC_PERTURB_": "165",  # memory that is read before it is written is no zero
        "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=32:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
    }


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _shortened(text: str) -> str:
    """Return the end of what a process wrote: the report of a sanitizer, or the Python stack."""
    text = text.partition("\nExtension modules:")[0]
    begins = [
        k for k in map(text.find, ("ERROR: ", "Sanitizer: CHECK", "runtime error: ")) if k >= 0
    ]
    return text[min(begins) :][:_SHOWN] if begins else text[-_SHOWN:]


def _run_worker(arguments: list[str], tally: Tally) -> dict[str, int]:
    """Run cases until the process ends; return how many cases of each kind were begun."""
    begun: Counter[str] = Counter()
    recent: deque[str] = deque(maxlen=_SHOWN_RECENT)
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        limit = ["--hang-seconds", str(tally.hang_seconds)]
        silent_seconds = tally.hang_seconds + _GRACE_SECONDS
        command = [sys.executable, "-m", "fuzz.worker", *limit, *arguments]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            text=True,
            env=_environment(),
            cwd=tempfile.gettempdir(),
        )
        assert process.stdout is not None
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process.stdout, lines))
        reader.start()
        open_case: tuple[str, int] | None = None
        is_silent = False
        while True:
            try:
                line = lines.get(timeout=silent_seconds if begun else _START_SECONDS)
            except queue.Empty:
                is_silent = True
                process.kill()
                break
            if line is None:
                break
            said: dict[str, Any] = json.loads(line)
            if "begin" in said:
                open_case = said["begin"][0], said["begin"][1]
                begun[open_case[0]] += 1
                recent.append(f"{open_case[0]}:{open_case[1]}")
            elif open_case is not None:
                tally.add(*open_case, said.get("outcome", ""), said.get("failure"))
                open_case = None
        process.wait()
        reader.join()
        process.stdout.close()
        errors.seek(0)
        text = errors.read()
    report = _REPORT.search(text)
    if open_case is not None:
        what = report.group() if report else f"the process ended with {process.returncode}"
        if is_silent or "Timeout (" in text:
            what = f"hangs for {tally.hang_seconds:g} s"
        tally.add(*open_case, "", f"{what}, after {' '.join(recent)}\n{_shortened(text)}")
    elif report or process.returncode:
        what = report.group() if report else f"the process ended with {process.returncode}"
        tally.add(
            "worker",
            tally.outcomes.total(),
            "",
            f"{what}, after {' '.join(recent)}\n{_shortened(text)}",
        )
        if not begun:
            raise SystemExit(f"no case could be run:\n{_shortened(text)}")
    return begun


def _run_cases(cases: list[str], tally: Tally) -> None:
    """Run these cases, in new processes after crashes."""
    while cases:
        begun = _run_worker(["--case", *cases], tally)
        cases = cases[max(sum(begun.values()), 1) :]


def _run_until(ends: float, kinds: list[str], seed: int, step: int, tally: Tally) -> None:
    """Run cases seed, seed + step, ... of each kind, in new processes after crashes."""
    while (left := ends - time.monotonic()) > 0:
        arguments = ["--kinds", *kinds, "--seed", str(seed), "--step", str(step)]
        begun = _run_worker([*arguments, "--seconds", f"{left:.1f}"], tally)
        seed += step * max(begun.values(), default=1)


def _repeat_hangs(tally: Tally) -> None:
    """Run cases that took too long again, alone: the machine may have been busy."""
    for kind, seed in [case for case, text in tally.failures.items() if text.startswith("hangs")]:
        alone = Tally(hang_seconds=tally.hang_seconds)
        _run_worker(["--case", f"{kind}:{seed}"], alone)
        if not alone.failures:
            del tally.failures[kind, seed]
            tally.outcomes[kind, "FAILED"] -= 1
            tally.outcomes[kind, "slow"] += 1


def _print(tally: Tally, started: float) -> None:
    kinds = sorted({kind for kind, _ in tally.outcomes})
    for kind in kinds:
        counts = {what: n for (of, what), n in sorted(tally.outcomes.items()) if of == kind}
        shown = ", ".join(f"{what} {n}" for what, n in counts.items())
        print(f"{kind}: {sum(counts.values())} cases; {shown}")
    print(f"{tally.outcomes.total()} cases in {time.monotonic() - started:.0f} s")
    alike: dict[str, list[tuple[str, int, str]]] = {}
    for (kind, seed), failure in sorted(tally.failures.items()):
        alike.setdefault(_kind_of_failure(kind, failure), []).append((kind, seed, failure))
    for cases in list(alike.values())[:_SHOWN_FAILURES]:
        kind, seed, failure = cases[0]
        more = f" (and {len(cases) - 1} like it)" if len(cases) > 1 else ""
        print(f"FAILED python tests/fuzz/run.py --case {kind}:{seed}{more}\n    {failure}")
    if len(alike) > _SHOWN_FAILURES:
        print(f"and {len(alike) - _SHOWN_FAILURES} more kinds of failures")


def _kind_of_failure(kind: str, failure: str) -> str:
    """Return what failures of one cause have in common: no case, no numbers."""
    text = failure.partition("] ")[2] if failure.startswith("[") else failure
    place = re.search(r"\(\w+\.py:.*\)", text)
    return kind + re.sub(r"/\S+/[^,:]*|\d+|'.*?'", "", text)[:50] + (place.group() if place else "")


def main() -> int:
    """Return 0 when every case ended as it must, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--case", nargs="+", metavar="KIND:SEED", help="these cases alone")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--hang-seconds", type=float, default=HANG_SECONDS, help="of a case")
    parser.add_argument("--json", help="a file for the failures")
    args = parser.parse_args()
    tally, started = Tally(hang_seconds=args.hang_seconds), time.monotonic()
    os.environ.setdefault("PYTHONHASHSEED", "0")
    if args.case:
        _run_cases(args.case, tally)
    else:
        ends = started + args.seconds
        threads = [
            threading.Thread(
                target=_run_until, args=(ends, args.only, args.seed + k, args.jobs, tally)
            )
            for k in range(args.jobs)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _repeat_hangs(tally)
    _print(tally, started)
    if args.json:
        failures = {f"{kind}:{seed}": text for (kind, seed), text in tally.failures.items()}
        Path(args.json).write_text(json.dumps(failures, indent=1))
    return int(bool(tally.failures) or not tally.outcomes)


if __name__ == "__main__":
    sys.exit(main())
