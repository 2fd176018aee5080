# SPDX-License-Identifier: BSD-3-Clause
"""Standard output and standard error of the command line, either of which may be gone."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import TextIO

_NAME = "standard output"
_LEAST_COLUMNS, _MOST_COLUMNS = 40, 100


def say(text: str = "", end: str = "\n") -> None:
    """Print on standard output; characters outside its encoding are shown with backslashes.

    Raises
    ------
    OSError
        When it cannot be written, unless it was closed from the start.
    """
    if sys.stdout is None:
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with _named():
        print(text.encode(encoding, "backslashreplace").decode(encoding), end=end)


def say_filled(text: str) -> None:
    """Say a paragraph, in lines that fit into the terminal.

    Raises
    ------
    OSError
        As `say`.
    """
    say(textwrap.fill(text, columns(), subsequent_indent="  ", break_long_words=False))


def columns() -> int:
    """Return the columns to use: the terminal's, within 40 .. 100; 100 without one."""
    if sys.stdout is None or not sys.stdout.isatty():
        return _MOST_COLUMNS
    return max(min(shutil.get_terminal_size().columns, _MOST_COLUMNS), _LEAST_COLUMNS)


def flush() -> None:
    """Write what `say` has left in the buffer.

    Raises
    ------
    OSError
        As `say`.
    """
    if sys.stdout is not None:
        with _named():
            sys.stdout.flush()


@contextlib.contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, _NAME) from error


def forget_what_is_left() -> None:
    """Discard text that cannot be written, so that the end of the process prints no error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _forget(stream)


def _forget(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
