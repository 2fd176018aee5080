"""Slow one worker of hybridtrain, a thread, from outside; see slow.c."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_SOURCE = Path(__file__).parent / "native" / "slow.c"


@cache
def _library() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slow.so"
        flags = ["-std=gnu11", "-O2", "-shared", "-fPIC"]
        subprocess.run(["cc", *flags, "-o", path, _SOURCE, "-lrt"], check=True)
        library = ctypes.CDLL(str(path))
    library.slow_begin.argtypes = [ctypes.c_double]
    library.slow_end.restype = ctypes.c_double
    return library


@contextmanager
def slowed(worker: int, factor: float) -> Iterator[list[float]]:
    """Slow a worker of the one run within; the list then has how many times as long it took."""
    library = _library()
    found: list[float] = []
    begun: list[int] = []

    def at_start(*_: Any) -> None:
        """Be called by each new thread as it begins."""
        sys.setprofile(None)
        if threading.current_thread().name == f"hybridtrain-{worker}":
            begun.append(library.slow_begin(factor))

    threading.setprofile(at_start)
    try:
        yield found
    finally:
        threading.setprofile(None)
        if begun == [0]:
            found.append(library.slow_end())
    assert begun == [0], "the worker was not slowed"
