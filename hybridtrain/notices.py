# SPDX-License-Identifier: BSD-3-Clause
"""Warnings that point at the user's own line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from hybridtrain.errors import DataWarning

_PACKAGE = __name__.partition(".")[0]


def warn_user(texts: Iterable[str]) -> None:
    """Warn with each text, as of the line that called this package."""
    for text in texts:
        warnings.warn(text, DataWarning, stacklevel=_levels_to_user())


@contextmanager
def as_lines() -> Iterator[None]:
    """Print each warning of this package once, as a line on standard error, for a program."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, DataWarning):
            print(f"warning: {message}", file=sys.stderr, flush=True)
        else:
            usual(message, category, *where)

    with warnings.catch_warnings():
        warnings.simplefilter("once", DataWarning)
        warnings.showwarning = show  # type: ignore[assignment]  # it passes on what it is given
        yield


def _levels_to_user() -> int:
    """Return the stack level of the nearest caller outside this package, for `warn_user`."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_own(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    return level


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == _PACKAGE
