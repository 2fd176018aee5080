# SPDX-License-Identifier: BSD-3-Clause
"""Schedules of runs of streams: no chunk is lost, none enters twice, and all nodes agree.

`support.simulated_streams` says what must never be. More schedules are in `tests/stress`.
"""

from __future__ import annotations

from collections import Counter

import pytest
from support.simulated_nodes import SETTINGS, Setting
from support.simulated_shells import WrongError
from support.simulated_streams import StreamShell, StreamWorld

A_SETTING = 25  # schedules


@pytest.mark.parametrize("name", SETTINGS)
def test_every_chunk_is_in_the_values_once_in_each_epoch(name: str) -> None:
    happened: Counter[str] = Counter()
    for seed in range(A_SETTING):
        happened += StreamWorld(SETTINGS[name], seed).run().happened
    assert happened["done"] + happened["lost"] == A_SETTING
    assert happened["done"] > A_SETTING // 4
    assert all(happened[fault] >= A_SETTING // 3 for fault in SETTINGS[name].faults()), happened


@pytest.mark.parametrize("victim", [11, 12, 13])
def test_a_node_may_die_at_any_message(victim: int) -> None:
    n_frames = StreamWorld(Setting(), seed=victim).run().n_delivered
    endings: Counter[str] = Counter()
    for at in range(1, n_frames, 3):
        endings += StreamWorld(Setting(kill_at=(at, victim)), seed=victim).run().happened
    assert endings["death"] > 0.3 * n_frames / 3
    assert endings["done"] > 0.7 * n_frames / 3


def test_a_planted_flaw_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that takes another's state keeps what it had trained since: those rows enter twice."""
    loaded = StreamShell.loaded

    def keep(self: StreamShell) -> None:
        note, since = self._note, self._since
        loaded(self)
        self._note, self._since = note, since

    monkeypatch.setattr(StreamShell, "loaded", keep)

    def run_all() -> None:
        for seed in range(200):
            StreamWorld(SETTINGS["copies"], seed).run()

    with pytest.raises((WrongError, ValueError)):
        run_all()
