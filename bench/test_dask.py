"""What do nodes on the workers of a Dask cluster cost beside nodes by hand?

Both sides are two nodes of one worker on this machine; one gathers its rows from the memory of a
`LocalCluster`, whose start is not counted. The bits are equal, else the benchmark fails.
"""  # noqa: D400 - a question

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
import scipy.sparse as sp

import hybridtrain as ht
from bench import ours
from bench.data import TINY, load
from bench.harness import EPOCHS, Figures, Side, interleave

distributed = pytest.importorskip("distributed", reason="needs hybridtrain[dask]")
da = pytest.importorskip("dask.array", reason="needs hybridtrain[dask]")

HAND, DASK = "nodes=2", "nodes=client"
BATCH = 64 if TINY else 4096
PARTITIONS = 8


def _side(data: Any, nodes: Any) -> Side:
    def run() -> dict[str, Any]:
        began = time.perf_counter()
        result = ht.train(
            ht.Linear(l2=ours.L2),
            data,
            strategy="sync",
            batch_size=BATCH,
            epochs=EPOCHS + 1,
            workers=1,
            progress=False,
            nodes=nodes,
        )
        seconds = sum(record.seconds for record in result.history)
        return {
            "seconds": min(record.seconds for record in result.history),
            "start": time.perf_counter() - began - seconds,
            "bits": hash(result.params["coef"].tobytes()),
        }

    return run


def _on(client: Any, X: Any, y: Any) -> tuple[Any, Any]:
    """Return rows as dask arrays of CSR chunks, in the memory of the workers."""
    n_rows = -(-len(y) // PARTITIONS)
    starts = range(0, len(y), n_rows)
    parts = client.scatter([X[k : k + n_rows] for k in starts])
    delayed = [client.submit(sp.csr_matrix, part) for part in parts]
    blocks = [
        da.from_delayed(part, (min(n_rows, len(y) - k), X.shape[1]), X.dtype, sp.csr_matrix((0, 0)))
        for k, part in zip(starts, delayed, strict=True)
    ]
    rows = client.persist([da.concatenate(blocks), da.from_array(y, chunks=n_rows)])
    distributed.wait(rows)
    return tuple(rows)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_nodes_of_a_cluster(
    benchmark: Any, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = load("rcv1l")
    # Workers have the path of this process; they are to import the package that is installed.
    root = str(Path(__file__).parents[1])
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != root])
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0
    )
    with cluster, distributed.Client(cluster) as client:
        sides = {
            HAND: _side((rows.X, rows.y), 2),
            DASK: _side(_on(client, rows.X, rows.y), client),
        }
        rounds = interleave(benchmark, sides, guarded=True)
    assert len({bits for who in sides for bits in rounds.values(who, "bits")}) == 1
    for who in sides:
        columns = {
            "s an epoch, the fastest": rounds.values(who, "seconds"),
            "s before and after the epochs": rounds.values(who, "start"),
        }
        figures.side(f"rcv1l, batch {BATCH}", who, **columns)
    figures.answer(
        f"rows a second of {DASK} over {HAND}",
        rounds.ratio("seconds", HAND, DASK),
        goal=0.9,
        rounds=rounds,
    )
    more = zip(rounds.values(DASK, "start"), rounds.values(HAND, "start"), strict=True)
    figures.answer(
        f"seconds that {DASK} needs more before and after its epochs",
        [dask - hand for dask, hand in more],
        unit="s",
        goal=3.0,
        goal_is="most",
        rounds=rounds,
    )
