# SPDX-License-Identifier: BSD-3-Clause
"""Signals of the command line before its own code runs: the first import.

Before this import, a signal makes Python show a traceback, so this module imports little.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what asks a program to end
_PROGRAM = "hybridtrain"


def exit_quietly(number: int, frame: Any) -> None:
    """End the process at once, with the exit code that shells give such a death."""
    del frame
    os._exit(128 + number)


def _is_command() -> bool:
    """Whether this process is the command line, not a program that imports the package."""
    first = sys.argv[0] if sys.argv else ""
    if first == "-m":  # python -m hybridtrain, which Python is about to find
        return sys.orig_argv[-len(sys.argv)] == _PROGRAM
    return os.path.basename(first) == _PROGRAM


def quiet_command() -> None:
    """Let signals end the command line at once, without a traceback, until `main` takes over.

    Does nothing in any other process.
    """
    if not _is_command():
        return
    for number in ENDING:
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            try:
                signal.signal(number, exit_quietly)
            except ValueError:  # not in the main thread: it is another program of this name
                return
