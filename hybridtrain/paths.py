# SPDX-License-Identifier: BSD-3-Clause
"""Paths as users give them: text that the system takes as a name, or a refusal."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from hybridtrain.errors import InvalidSettingError

PathLike = str | os.PathLike[str]
_SHOWN = 80


def path_text(path: PathLike) -> str:
    """Return a path as text.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    str

    Raises
    ------
    InvalidSettingError
        When it is no path, or no file can have that name: it holds a byte of value 0, or half
        of a character.
    """
    text: Any = None
    with contextlib.suppress(TypeError):
        text = os.fspath(path)
    if not isinstance(text, str):
        kind = type(path).__name__
        raise InvalidSettingError(f"a path must be a str or an os.PathLike of one, got {kind}")
    try:
        is_name = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        shown = ascii(text)
        raise InvalidSettingError(
            "a path must hold no character of value 0 and no half of a character (surrogate), got "
            f"{shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'}"
        )
    return text
