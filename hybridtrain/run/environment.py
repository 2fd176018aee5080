# SPDX-License-Identifier: BSD-3-Clause
"""Environment variables for a run; no other file reads them."""

from __future__ import annotations

import os

from hybridtrain._core.rows import isas
from hybridtrain.arguments import nearest
from hybridtrain.errors import InvalidSettingError
from hybridtrain.plan.base import STARTS


def instruction_set() -> str:
    """Return the instruction set to compute with: the best, or that of HYBRIDTRAIN_ISA.

    Raises
    ------
    InvalidSettingError
        When this machine does not have the named one.
    """
    available = isas()
    name = os.environ.get("HYBRIDTRAIN_ISA") or available[-1]
    if name not in available:
        raise InvalidSettingError(
            f"HYBRIDTRAIN_ISA must be one of {', '.join(available)} on this machine, got {name!r}"
            + nearest(name, available)
        )
    return name


def process_start() -> str:
    """Return how worker processes start: "fork", or what HYBRIDTRAIN_START says.

    Raises
    ------
    InvalidSettingError
        When it says something else than "fork" or "exec".
    """
    name = os.environ.get("HYBRIDTRAIN_START") or STARTS[0]
    if name not in STARTS:
        raise InvalidSettingError(
            f"HYBRIDTRAIN_START must be one of {', '.join(STARTS)}, got {name!r}"
            + nearest(name, STARTS)
        )
    return name
