# SPDX-License-Identifier: BSD-3-Clause
"""What tests of faults share: both ways to start worker processes."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["fork", "exec"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start worker processes as forks, or as programs."""
    monkeypatch.setenv("HYBRIDTRAIN_START", request.param)
    return str(request.param)
