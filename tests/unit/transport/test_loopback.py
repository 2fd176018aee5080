# SPDX-License-Identifier: BSD-3-Clause
"""Streams over the loopback network: whatever it does, frames arrive once and in order."""

from __future__ import annotations

import random

import pytest

from hybridtrain.transport.frame import GONE, Frame
from hybridtrain.transport.link import Link
from hybridtrain.transport.loopback import Faults, Loopback
from hybridtrain.transport.streams import Limits

KIND = 20
SETTINGS = {
    "late": Faults(delay=0.05),
    "doubled": Faults(duplicate=0.3),
    "dropped": Faults(drop=0.2),
    "cut": Faults(cut=0.05, delay=0.01),
    "all": Faults(delay=0.02, duplicate=0.1, drop=0.05, cut=0.05, mended=0.5),
}
FIRED = {
    "late": "posted",
    "doubled": "duplicated",
    "dropped": "dropped",
    "cut": "cut",
    "all": "cut",
}


def _converse(network: Loopback, seed: int, n: int) -> dict[tuple[int, int], list[int]]:
    """Let three links send n numbered frames to each other; return what arrived from whom."""
    chance = random.Random(seed)
    limits = Limits(under_way=2000, unacknowledged=500)
    links = [network.link(incarnation=k + 1, limits=limits) for k in range(3)]
    for link in links:
        for peer in links:
            if peer is not link:
                link.connect(peer.incarnation, peer.address)
    left = [(link, peer, k) for k in range(n) for link in links for peer in links if link != peer]
    arrived: dict[tuple[int, int], list[int]] = {
        (link.incarnation, peer.incarnation): [] for link, peer, _ in left
    }
    while left or min(map(len, arrived.values())) < n:
        if left and chance.random() < 0.5:
            link, peer, k = left.pop(0)
            link.send(peer.incarnation, Frame(KIND, step=k, body=bytes(chance.randrange(300))))
        link = chance.choice(links)
        for sender, frame in link.receive(0):
            arrived[sender, link.incarnation].append(frame.step)
        network.advance(chance.random() * 0.01)
        assert network.now() < 1000, "frames do not arrive"
    return arrived


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", SETTINGS)
def test_frames_arrive_once_and_in_order(name: str, seed: int) -> None:
    network = Loopback(seed, SETTINGS[name])
    arrived = _converse(network, seed, 100)
    assert all(steps == list(range(100)) for steps in arrived.values())
    assert network.counts[FIRED[name]] > 0


def _pair(network: Loopback, limits: Limits = Limits()) -> tuple[Link, Link]:  # noqa: B008
    a, b = (network.link(incarnation=k, limits=limits) for k in (1, 2))
    a.connect(2, b.address)
    b.connect(1, a.address)
    return a, b


def test_a_schedule_is_the_same_again() -> None:
    first, second = (Loopback(3, SETTINGS["all"]) for _ in range(2))
    _converse(first, 3, 30)
    _converse(second, 3, 30)
    assert first.counts == second.counts
    assert first.now() == second.now()


def test_frames_that_were_forgotten_are_reported_as_gone() -> None:
    network = Loopback()
    a, b = _pair(network, Limits(kept=10 * 100, under_way=100_000))
    network.cut(a.address, b.address, seconds=0.05)
    for k in range(30):
        a.send(2, Frame(KIND, step=k))
    found: list[Frame] = []
    while not found or found[-1].step != 29:
        a.receive(0.01)
        found += [frame for _, frame in b.receive(0.01)]
    assert (found[0].kind, found[0].step) == (GONE, 20)
    assert [frame.step for frame in found[1:]] == list(range(20, 30))


def test_a_link_that_is_cut_off_takes_frames_and_sends_them_later() -> None:
    network = Loopback(0)
    a, b = _pair(network)
    network.cut(a.address, b.address, seconds=5.0)
    a.send(2, Frame(KIND))
    assert b.receive(4.0) == []
    assert not a.flush(0)
    a.receive(2.0)
    assert [frame.kind for _, frame in b.receive(1.0)] == [KIND]
    b.receive(0.1)
    assert a.flush(1.0)
