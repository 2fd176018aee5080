# SPDX-License-Identifier: BSD-3-Clause
"""A process that runs cases one after the other, and writes a line of JSON before and after each.

The parent reads the lines: a case that was begun and not ended has crashed the process, or hangs.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import importlib
import itertools
import json
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fuzz.contract import Allowed, UnsoundError, outcome_of
from fuzz.draw import Draw

KINDS = (
    "matrices",
    "dense",
    "frames",
    "labels",
    "weights",
    "settings",
    "estimators",
    "checkpoints",
    "records",
    "wire",
    "model_files",
    "directories",
    "npz",
    "paths",
    "text",
    "archives",
    "command_line",
)
_SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
HANG_SECONDS = 120 if _SANITIZED else 20
_MOST_GROWTH = (900 if _SANITIZED else 400) << 20
_ADDRESS_SPACE = 8 << 30
_GRACE_SECONDS = 2.0
_MANY_HANDLES = 40


def _say(**line: Any) -> None:
    os.write(_OUT, (json.dumps(line) + "\n").encode())


_OUT = 1


def run_case(kind: str, draw: Draw, place: Path) -> str:
    """Return the outcome of a case.

    Raises
    ------
    UnsoundError
        When the contract is broken.
    """
    case: Callable[[Draw, Path], tuple[Callable[[], str | None], Allowed]]
    case = importlib.import_module(f"fuzz.{kind}").case
    allowed = Allowed()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            use, allowed = case(draw, place)
            outcome = use() or "sound"
        except Exception as error:
            outcome = outcome_of(error, allowed)
    _check_warnings(caught, allowed)
    return outcome


def _check_warnings(caught: list[warnings.WarningMessage], allowed: Allowed) -> None:
    for one in caught:
        if allowed.scikit_learn and (one.category is RuntimeWarning or "sklearn" in one.filename):
            continue  # scikit-learn's own; its checks add up what may be infinite
        if not one.category.__module__.startswith("hybridtrain"):
            where = f"{Path(one.filename).name}:{one.lineno}"
            raise UnsoundError(f"raw {one.category.__name__}: {str(one.message)[:200]} ({where})")


class LeftoverError(UnsoundError):
    """A case has left something behind, which would count against the next one."""


@contextlib.contextmanager
def _leaves_nothing(folder: Path) -> Iterator[None]:
    """Require that a case leaves no threads, processes, files, handles or memory behind."""
    handles, peak, shared = _handles(), _peak_nbytes(), _names("/dev/shm")
    yield
    deadline = time.monotonic() + _GRACE_SECONDS
    while threading.active_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    names = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
    if names:
        raise LeftoverError(f"threads are left: {names[:4]}")
    if _has_children():
        raise LeftoverError("a child process is left")
    if left := _names(folder):
        raise LeftoverError(f"temporary files are left: {sorted(left)[:4]}")
    if left := {name for name in _names("/dev/shm") - shared if "hybridtrain" in name}:
        raise LeftoverError(f"files are left in /dev/shm: {sorted(left)[:4]}")
    grown = _peak_nbytes() - peak
    if grown > _MOST_GROWTH:
        raise LeftoverError(f"the case took {grown >> 20} MB more than any before")
    if _handles() > handles + _MANY_HANDLES:
        gc.collect()
        if _handles() > handles + _MANY_HANDLES:
            raise LeftoverError(f"{_handles() - handles} open files are left")


def _names(folder: str | Path) -> set[str]:
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


def _handles() -> int:
    return len(os.listdir("/proc/self/fd"))


def _peak_nbytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _warm_up(cases: list[str] | None) -> None:
    """Import what cases import, so that none is charged with it, and train once."""
    import numpy as np  # noqa: PLC0415 - after the limits are set

    import hybridtrain as ht  # noqa: PLC0415

    if cases is None or not all(case.startswith("faults:") for case in cases):
        for name in ("pandas", "sklearn.datasets", "scipy.sparse", "hybridtrain.sklearn"):
            importlib.import_module(name)
        for name in ("compare", "train", "predict"):
            importlib.import_module(f"hybridtrain.cli.{name}")
    X = np.random.default_rng(0).standard_normal((200, 8)).astype(np.float32)
    ht.train(ht.Linear(), (X, X[:, 0] > 0), strategy="sync", workers=1, progress=False)


def _cases(args: argparse.Namespace) -> Iterator[tuple[str, int]]:
    if args.case:
        for text in args.case:
            kind, _, seed = text.partition(":")
            yield kind, int(seed)
        return
    ends = time.monotonic() + args.seconds
    for k in itertools.count():
        if time.monotonic() > ends:
            return
        yield args.kinds[k % len(args.kinds)], args.seed + k // len(args.kinds) * args.step


def main() -> None:
    """Run cases until the time is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kinds", nargs="+", default=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--case", nargs="*")
    parser.add_argument("--hang-seconds", type=float, default=HANG_SECONDS)
    args = parser.parse_args()
    global _OUT  # noqa: PLW0603 - standard output is the cases' own
    _OUT = os.dup(1)
    os.dup2(2, 1)
    if not _SANITIZED:
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    own, place = folder / "own", folder / "place"
    own.mkdir()
    tempfile.tempdir = str(own)
    os.environ["TMPDIR"] = str(own)
    try:
        _warm_up(args.case)
        for kind, seed in _cases(args):
            _say(begin=[kind, seed])
            faulthandler.dump_traceback_later(args.hang_seconds, exit=True)
            place.mkdir()
            draw = Draw(kind, seed)
            try:
                with _leaves_nothing(own):
                    outcome = run_case(kind, draw, place)
                _say(end=[kind, seed], outcome=outcome)
            except UnsoundError as error:
                _say(end=[kind, seed], failure=f"[{' / '.join(draw.path)}] {error}")
                if isinstance(error, LeftoverError):
                    shutil.rmtree(folder, ignore_errors=True)
                    os._exit(0)  # another process goes on
            finally:
                faulthandler.cancel_dump_traceback_later()
                for directory, _, _ in os.walk(place):
                    os.chmod(directory, 0o700)
                shutil.rmtree(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
