"""What does a slow link between two nodes cost each strategy?

Two nodes of one worker each, in network namespaces of their own, with a link of 100 Mbit/s
between them (veth and a token bucket filter): needs root and iproute2. The driver is beside one of
the nodes. `Sync` sends the sums of every batch, `LocalSGD` those of 64 steps; the streams merge as
often as the link allows, and train meanwhile.
"""  # noqa: D400 - a question

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from bench import ours
from bench.data import TINY, load
from bench.harness import Figures, Side, interleave

RATE = "100mbit"
DRIVER, OTHER, ADDRESS = "htbench0", "htbench1", "10.213.0.1:7000"
BATCH, LOCAL_BATCH, EVERY = (64, 16, 4) if TINY else (4096, 256, 64)
ROWS = 2000 if TINY else 200_000
EPOCHS, REPETITIONS = (2, 1) if TINY else (5, 3)
SIDES = {
    "Sync": {"strategy": "sync", "batch_size": BATCH},
    "LocalSGD": {"strategy": f"local_sgd(every={EVERY}, replicas=2)", "batch_size": LOCAL_BATCH},
    "Hybrid": {"strategy": "hybrid"},
    "Hybrid, int8": {"strategy": "hybrid(compress='int8')"},
}
if TINY:  # each run starts three processes
    SIDES = {who: SIDES[who] for who in ("Sync", "Hybrid")}
_NODE = [sys.executable, "-m", "hybridtrain", "node", "--insecure", "--join", ADDRESS]
_DRIVE = """
import json, sys
import hybridtrain as ht
given = json.loads(sys.argv[1])
nodes = ht.Nodes(2, listen=sys.argv[2], insecure=True)
result = ht.train(ht.Linear(l2=given.pop("l2")), nodes=nodes, workers=1, progress=False, **given)
print(json.dumps({
    "seconds": [record.seconds for record in result.history],
    "loss": result.history[-1].loss,
    "bytes": sum(n.bytes_sent for n in result.nodes) / sum(n.rows for n in result.nodes),
}))
"""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def link() -> Iterator[None]:
    """Make two namespaces with a slow link between them."""
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
        pytest.skip("network namespaces need root and iproute2")
    try:
        for each in (DRIVER, OTHER):
            _ip("netns", "add", each)
        ends = f"link add v0 netns {DRIVER} type veth peer name v1 netns {OTHER}"
        _ip(*ends.split())
        for k, each in enumerate((DRIVER, OTHER)):
            _ip("-n", each, "addr", "add", f"10.213.0.{k + 1}/24", "dev", f"v{k}")
            _ip("-n", each, "link", "set", "lo", "up")
            _ip("-n", each, "link", "set", f"v{k}", "up")
            slow = f"tc qdisc add dev v{k} root tbf rate {RATE} burst 64kb latency 50ms"
            subprocess.run(["ip", "netns", "exec", each, *slow.split()], check=True)
        yield
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr!r}")
    finally:
        for each in (DRIVER, OTHER):
            subprocess.run(["ip", "netns", "del", each], check=False, capture_output=True)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Save the rows in a folder that all nodes read."""
    data = load("rcv1l")
    ht.save_directory(tmp_path / "rows", data.X[:ROWS], data.y[:ROWS])
    return tmp_path / "rows"


def _side(rows: Path, settings: dict[str, Any]) -> Side:
    given = {"l2": ours.L2, "data": str(rows), "epochs": EPOCHS, "seed": 0, **settings}

    def run() -> dict[str, Any]:
        nodes = [
            subprocess.Popen(
                ["ip", "netns", "exec", each, *_NODE], stdout=subprocess.DEVNULL, cwd=rows.parent
            )
            for each in (DRIVER, OTHER)
        ]
        driver = ["ip", "netns", "exec", DRIVER, sys.executable, "-c", _DRIVE]
        try:
            told = subprocess.run(
                [*driver, json.dumps(given), ADDRESS],
                check=True,
                stdout=subprocess.PIPE,
                cwd=rows.parent,
                timeout=300,
            ).stdout
        finally:
            for each in nodes:
                each.terminate()
                each.wait()
        found = json.loads(told)
        return {
            "rate": min(ROWS, load("rcv1l").X.shape[0]) / float(np.median(found["seconds"])),
            "loss": found["loss"],
            "bytes": found["bytes"],
        }

    return run


def test_slow_link(benchmark: Any, figures: Figures, link: None, rows: Path) -> None:
    sides = {who: _side(rows, settings) for who, settings in SIDES.items()}
    rounds = interleave(benchmark, sides, guarded=False, repetitions=REPETITIONS)
    for who in sides:
        columns = {
            "rows a second": rounds.values(who, "rate"),
            "bytes a row": rounds.values(who, "bytes"),
            "loss": rounds.values(who, "loss"),
        }
        figures.side(f"rcv1l, {RATE}", who, **columns)
    for who in list(sides)[1:]:
        figures.answer(
            f"{RATE}: rows a second of {who} over Sync",
            rounds.ratio("rate", who, "Sync"),
            goal=3.0,
            rounds=rounds,
        )
