# SPDX-License-Identifier: BSD-3-Clause
"""What tests of faults share: both ways to start worker processes, and no waits between starts."""

from __future__ import annotations

import pytest

from hybridtrain.run import processes


@pytest.fixture(params=["fork", "exec"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start worker processes as forks, or as programs."""
    monkeypatch.setenv("HYBRIDTRAIN_START", request.param)
    return str(request.param)


@pytest.fixture
def no_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace processes that die before they have worked at once, not after a second."""
    monkeypatch.setattr(processes, "_BACK_OFF_SECONDS", (0.0,))
