"""What do links between nodes cost over bare pyzmq: bytes a second, a round trip, encodings?

One way: a process sends frames of 4 MB to another, over TCP on this machine, by a link and by
bare pyzmq sockets with the same frames: a header of 96 bytes and a body that is not copied.
Round trip: 64 bytes and back. Both without security and with CURVE. Encodings: sums of one
stretch of coordinates, of which a part is touched, to a body and back.
"""  # noqa: D400 - a question

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from bench.data import TINY
from bench.harness import Figures, Sample, Side, interleave
from bench.link_peer import KIND, link
from hybridtrain._core.guest import GROUP, MOST_GROUPS, add, encode
from hybridtrain.transport.frame import MAX_BODY_BYTES, Frame

FRAMES = 4 if TINY else 250
TRIPS = 20 if TINY else 2_000
ENCODED = 1 if TINY else 50
PATIENCE = 120.0
LINK, BARE = "link", "bare pyzmq"
HEADER, SHORT = bytes(96), bytes(64)


@contextmanager
def _peer(by: str, *words: str) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """Start the other process; return where it listens and its name or key."""
    command = [sys.executable, str(Path(__file__).with_name("link_peer.py")), by, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address, name = process.stdout.readline().split()
            yield address, name, process
            process.wait(PATIENCE)
        finally:
            process.kill()


def _seconds(process: subprocess.Popen[str]) -> float:
    assert process.stdout is not None
    return float(process.stdout.readline())


@contextmanager
def _dealer(address: str, key: str) -> Iterator[Any]:
    context = zmq.Context()
    dealer: Any = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.SNDHWM, 8)
    if key != "-":
        public, secret = zmq.curve_keypair()
        dealer.setsockopt(zmq.CURVE_SERVERKEY, key.encode())
        dealer.setsockopt(zmq.CURVE_PUBLICKEY, public)
        dealer.setsockopt(zmq.CURVE_SECRETKEY, secret)
    dealer.connect(address)
    try:
        yield dealer
    finally:
        context.destroy(linger=0)


def _one_way_bare(words: list[str]) -> Sample:
    body = memoryview(bytes(MAX_BODY_BYTES))
    with (
        _peer("bare", str(FRAMES), *words) as (address, key, process),
        _dealer(address, key) as out,
    ):
        for _ in range(FRAMES + 1):
            out.send_multipart([HEADER, body], copy=False)
        return {"rate": FRAMES * MAX_BODY_BYTES / _seconds(process)}


def _one_way_link(words: list[str]) -> Sample:
    frame = Frame(KIND, body=memoryview(bytes(MAX_BODY_BYTES)))
    with _peer("link", str(FRAMES), *words) as (address, name, process):
        here = link("curve" in words)
        here.connect(int(name), address)
        for _ in range(FRAMES + 1):
            here.send(int(name), frame)
            assert here.flush(PATIENCE, most=64 << 20)
        assert here.flush(PATIENCE)
        seconds = _seconds(process)
        here.close()
    return {"rate": FRAMES * MAX_BODY_BYTES / seconds}


def _trips_bare(words: list[str]) -> Sample:
    with (
        _peer("bare", str(TRIPS), "echo", *words) as (address, key, process),
        _dealer(address, key) as out,
    ):
        for _ in range(TRIPS + 1):
            out.send_multipart([HEADER, SHORT])
            out.recv_multipart()
        return {"us": 1e6 * _seconds(process) / TRIPS}


def _trips_link(words: list[str]) -> Sample:
    with _peer("link", str(TRIPS), "echo", *words) as (address, name, process):
        here = link("curve" in words)
        here.connect(int(name), address)
        for _ in range(TRIPS + 1):
            here.send(int(name), Frame(KIND, body=SHORT))
            while not here.receive(PATIENCE):
                pass
        assert not here.receive(0.2)  # the acknowledgement that the peer waits for
        seconds = _seconds(process)
        here.close()
    return {"us": 1e6 * seconds / TRIPS}


@pytest.mark.parametrize("security", ["plain", "curve"])
def test_one_way(benchmark: Any, figures: Figures, security: str) -> None:
    words = [security]
    sides = {BARE: lambda: _one_way_bare(words), LINK: lambda: _one_way_link(words)}
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        figures.side(
            f"4 MB, {security}", who, **{"GB/s": [r / 1e9 for r in rounds.values(who, "rate")]}
        )
    figures.answer(
        f"frames of 4 MB, {security}: bytes/s, link over {BARE}",
        rounds.ratio("rate", LINK, BARE),
        goal=0.8 if security == "plain" else 0.85,
        goal_is="least",
        rounds=rounds,
    )


@pytest.mark.parametrize("security", ["plain", "curve"])
def test_round_trip(benchmark: Any, figures: Figures, security: str) -> None:
    words = [security]
    sides = {BARE: lambda: _trips_bare(words), LINK: lambda: _trips_link(words)}
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        figures.side(f"64 B and back, {security}", who, us=rounds.values(who, "us"))
    figures.answer(
        f"64 B and back, {security}: link", rounds.values(LINK, "us"), unit="us", rounds=rounds
    )


def _coded(touched: float) -> Side:
    rng = np.random.default_rng(0)
    sums = rng.integers(-(2**38), 2**38, GROUP * MOST_GROUPS)
    sums[rng.random(len(sums)) >= touched] = 0
    marks = sums.reshape(-1, GROUP).any(axis=1).astype(np.uint8)
    total, total_marks = np.zeros_like(sums), np.zeros_like(marks)

    def run() -> Sample:
        start = time.perf_counter()
        for _ in range(ENCODED):
            encoding, body = encode(sums, marks)
        encoded = time.perf_counter()
        for _ in range(ENCODED):
            add(body, encoding, total, total_marks)
        end = time.perf_counter()
        done = ENCODED * sums.nbytes / 1e9
        return {
            "encode": done / (encoded - start),
            "add": done / (end - encoded),
            "bytes": len(body) / len(sums),
        }

    return run


def test_encodings(benchmark: Any, figures: Figures) -> None:
    sides = {f"{100 * part:g} % touched": _coded(part) for part in (1.0, 0.5, 0.1, 0.01)}
    rounds = interleave(benchmark, sides, guarded=True)
    for who in sides:
        columns = {
            "encode, GB/s of sums": rounds.values(who, "encode"),
            "add, GB/s of sums": rounds.values(who, "add"),
            "bytes a coordinate": rounds.values(who, "bytes"),
        }
        figures.side("sums of 39 bits", who, **columns)
    figures.answer(
        "all of 524,280 sums of 39 bits: encode, sums",
        rounds.values("100 % touched", "encode"),
        unit="GB/s",
        rounds=rounds,
    )
