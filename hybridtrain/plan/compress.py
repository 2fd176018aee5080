# SPDX-License-Identifier: BSD-3-Clause
"""Words for how changes are compressed between nodes: "int8" and "top_k(0.01)"."""

from __future__ import annotations

import re
from typing import Any

from hybridtrain.arguments import plain, shown
from hybridtrain.errors import InvalidSettingError

_TOP = re.compile(r"top_k\(([0-9.e+-]+)\)")


def checked_compress(value: Any) -> str | None:
    """Return how a strategy compresses changes; None: it does not.

    Raises
    ------
    InvalidSettingError
        When it is something else.
    """
    value = plain(value)
    if value is None:
        return None
    if isinstance(value, str) and value == "int8":
        return value
    if isinstance(value, str) and _TOP.fullmatch(value):
        try:
            if 0.0 < float(value[len("top_k(") : -1]) <= 1.0:
                return value
        except ValueError:
            pass
    raise InvalidSettingError(
        f'compress must be None, "int8" or "top_k(share)", share in 0 .. 1, got {shown(value)}'
    )


def top_share(compress: str) -> float | None:
    """Return the share of "top_k(share)"; None: another word."""
    found = _TOP.fullmatch(compress)
    return None if found is None else float(found[1])
