"""What does a step of the round cost, empty and merging a dense vector?

Against barriers and all-reduces of others. Ours is called from C, with threads; MPI, gloo and
Python's own from Python, with processes (bench/peers). A round counts work, not workers: a
step ends when its tasks are done, by whomever, where a barrier waits for every worker. So the
share of the busiest worker stands beside its time. A merge of ours reads the vectors of both
workers and writes one sum for all, in memory that all of them map; MPI and gloo leave a sum in
the vector of each process. "Plain" is two loops in C between two barriers that leave the sum
in both vectors. The triad a = b + s c moves the bytes of a merge (two vectors read, one
written, through the cache) and never waits: its speed is what the memory allows.
"""  # noqa: D400 - a question

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from bench.data import TINY
from bench.harness import Figures, Rounds, Sample, Side, interleave
from bench.native.core import build
from bench.peers import gloo, mpi, processes
from bench.peers.steps import Peer

_STEPS = 100 if TINY else 20_000
_PEERS: dict[str, Peer] = {
    **mpi.peers(),
    "gloo": gloo.PEER,
    "multiprocessing": processes.PEER,
}
_EMPTY_GOAL_US = {2: 3.0, 8: 60.0}
_FLOATS = {"1 kB": 1 << 8, "64 kB": 1 << 14}
if not TINY:
    _FLOATS |= {"1 MB": 1 << 18, "4 MB": 1 << 20, "64 MB": 1 << 24}
_TIMES_GLOO = 20.0  # up to 4 MB
_ROUND, _PLAIN, _TRIAD = "round", "plain", "triad, no waiting"
_OURS = {_ROUND: 0, _PLAIN: 1, _TRIAD: 2}  # `way` in round.c


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    found = build(tmp_path_factory.mktemp("round"), "round", ("round", "point", "futex"))
    for name, arguments in {
        "empty_round": [ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_double)],
        "empty_barrier": [ctypes.c_int, ctypes.c_int, ctypes.c_int],
        "merge_dense": [ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_int],
    }.items():
        function = getattr(found, name)
        function.restype, function.argtypes = ctypes.c_double, arguments
    return found


def _timed(function: Any, *arguments: Any) -> float:
    seconds: float = function(*arguments)
    assert seconds > 0, "a thread could not be started, or the sum is wrong"
    return seconds


def _peers(figures: Figures, data: str, workers: int, work: Mapping[int, int]) -> dict[str, Side]:
    for who, peer in _PEERS.items():
        if peer.missing:
            figures.side(data, who, **{"left out": f"needs {peer.missing}"})
    return {who: peer.side(workers, work) for who, peer in _PEERS.items() if not peer.missing}


def _answer_best(
    figures: Figures, what: str, metric: str, rounds: Rounds, others: list[str]
) -> None:
    """Answer how many times as fast as the quickest other one the round is."""
    best = min(others, key=lambda who: float(np.median(rounds.values(who, metric))))
    figures.answer(
        f"{what}: speed of the round over that of {best}, the quickest other",
        rounds.ratio(metric, best, _ROUND),
        rounds=rounds,
    )


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_empty(benchmark: Any, figures: Figures, library: ctypes.CDLL, workers: int) -> None:
    def empty_round() -> Sample:
        busiest = ctypes.c_double()
        seconds = _timed(library.empty_round, workers, _STEPS, ctypes.byref(busiest))
        return {"0": seconds, "busiest": 100 * busiest.value}

    def barrier(sleeps: int) -> Side:
        return lambda: {"0": _timed(library.empty_barrier, workers, _STEPS, sleeps)}

    data = f"an empty round, {workers} workers"
    in_c = {
        "C barrier that spins, then yields": barrier(0),
        "pthread_barrier_t": barrier(1),
    }
    steps = 20 if TINY else 2_000 if workers == 2 else 200
    peers = _peers(figures, data, workers, {0: steps})
    sides = {_ROUND: empty_round, **peers, **in_c}  # what is in C close together
    rounds = interleave(benchmark, sides, guarded=workers == 2)
    for who in rounds.samples:
        micros = [1e6 * s for s in rounds.values(who, "0")]
        version = rounds.samples[who][0].get("version", "")
        figures.side(data, who, **{"us": micros, "version": version})
    figures.answer(
        data,
        [1e6 * s for s in rounds.values(_ROUND, "0")],
        unit="us",
        goal=_EMPTY_GOAL_US.get(workers),
        goal_is="most",
        rounds=rounds,
    )
    busiest = rounds.values(_ROUND, "busiest")
    figures.answer(f"{data}: tasks of the busiest worker", busiest, unit="%", rounds=rounds)
    _answer_best(figures, data, "0", rounds, [*peers, *in_c])


def test_merge(benchmark: Any, figures: Figures, library: ctypes.CDLL) -> None:
    work = {n: max(min((1 << 26) // n, 20 if TINY else 1_000), 8) for n in _FLOATS.values()}

    def ours(way: int) -> Side:
        # Ours takes so much less time that more steps are needed to time it.
        return lambda: {
            str(n): _timed(library.merge_dense, 2, n, 4 * k, way) for n, k in work.items()
        }

    peers = _peers(figures, "merging", 2, work)
    sides = {_ROUND: ours(_OURS[_ROUND]), **peers}
    sides |= {who: ours(_OURS[who]) for who in (_PLAIN, _TRIAD)}  # what is in C close together
    rounds = interleave(benchmark, sides, guarded=True)
    for size, n in _FLOATS.items():
        _answer_merge(figures, size, n, rounds, list(peers))


def _answer_merge(figures: Figures, size: str, n: int, rounds: Rounds, peers: list[str]) -> None:
    metric, data = str(n), f"merging {size}, 2 workers"
    for who in rounds.samples:
        seconds = np.array(rounds.values(who, metric))
        version = rounds.samples[who][0].get("version", "")
        columns = {"us": 1e6 * seconds, "GB/s of vector": 4e-9 * n / seconds, "version": version}
        figures.side(data, who, **columns)
    _answer_best(figures, data, metric, rounds, peers)
    if "gloo" in peers:
        figures.answer(
            f"{data}: speed of the round over that of gloo",
            rounds.ratio(metric, "gloo", _ROUND),
            goal=_TIMES_GLOO if n <= 1 << 20 else None,
            rounds=rounds,
        )
    figures.answer(
        f"{data}: speed of the round over that of plain",
        rounds.ratio(metric, _PLAIN, _ROUND),
        goal=0.5 if n >= 1 << 20 else None,
        rounds=rounds,
    )
    figures.answer(
        f"{data}: bytes a second over those of a triad",
        rounds.ratio(metric, _TRIAD, _ROUND),
        rounds=rounds,
    )
