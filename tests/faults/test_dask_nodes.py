# SPDX-License-Identifier: BSD-3-Clause
"""Nodes in the workers of a Dask cluster: the bits of one machine, whatever becomes of workers."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from support.dask_clusters import distributed, local_cluster
from support.node_runs import bits, data
from support.striking import strike_and_await

import hybridtrain as ht
from hybridtrain.errors import InvalidDataError, InvalidSettingError, NodesLostError

da = pytest.importorskip("dask.array", reason="needs hybridtrain[dask]")

from hybridtrain.engines import dask_engine  # noqa: E402
from hybridtrain.engines.base import NodeConfig  # noqa: E402
from hybridtrain.engines.dask_node import run_node  # noqa: E402

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
SETTINGS: dict[str, Any] = {"strategy": "sync", "batch_size": 96, "progress": False}
_MOST_EPOCHS = 100_000
_SECONDS = 60.0


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers of one thread, for tests that leave them as they are."""
    with local_cluster() as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture
def cluster(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """Two workers of one thread, of this test alone."""
    caplog.set_level("INFO", "hybridtrain.nodes.driving")
    with local_cluster() as cluster, distributed.Client(cluster) as client:
        cluster.client = client
        yield cluster


def train(data: Any, **more: Any) -> ht.Result:
    return ht.train(ht.Linear(l2=1e-4), data, **{**SETTINGS, "epochs": 4, **more})


def on_dask(kind: str = "sparse") -> tuple[Any, Any]:
    X, y = data(kind)
    dense = da.from_array(X if kind == "softmax" else np.asarray(X.todense()), chunks=(800, -1))
    rows = dense if kind == "softmax" else dense.map_blocks(sp.csr_matrix)
    return rows, da.from_array(y, chunks=800)


def pids_of(client: Any) -> dict[str, int]:
    return dict(client.run(os.getpid))


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that nobody has waited for has ended, too."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def require_ended(pids: list[int]) -> None:
    """Wait until processes have ended: a node outlives its parent for a beat."""
    deadline = time.monotonic() + 10.0
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task")
    return [int(c) for t in path.iterdir() for c in (t / "children").read_text().split()]


def node_tasks(client: Any) -> list[Any]:
    """Return the tasks of nodes that any worker still has; those that end are waited for."""

    def held(dask_worker: Any) -> list[Any]:
        return [str(k) for k in dask_worker.state.tasks if "hybridtrain-node" in str(k)]

    deadline = time.monotonic() + _SECONDS
    while tasks := [key for keys in client.run(held).values() for key in keys]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return tasks


def test_dask_arrays_train_with_the_bits_of_one_machine(client: Any) -> None:
    for kind in ("sparse", "softmax"):
        model = ht.Linear(loss="softmax" if kind == "softmax" else "logistic", l2=1e-4)
        given = {**SETTINGS, "epochs": 4, "validation": 0.2}
        alone = ht.train(model, data(kind), **given)
        result = ht.train(model, on_dask(kind), nodes=client, **given)
        assert bits(result) == bits(alone)
        assert [r.validation_loss for r in result.history] == [
            r.validation_loss for r in alone.history
        ]
        [line] = result.settings["nodes"]["lines"]
        assert line.startswith("2 nodes: 127.0.0.1:")
    assert node_tasks(client) == []


def test_weights_columns_in_several_blocks_and_validation_rows(client: Any) -> None:
    X, y = data("softmax")
    y = y > 0
    weight = np.linspace(0.5, 2.0, len(y))
    alone = train((X, y, weight), validation=(X[:700], y[:700]))
    cut = da.from_array(X, chunks=(1100, 7)), *(da.from_array(a, chunks=1100) for a in (y, weight))
    held_out = da.from_array(X[:700], chunks=300), da.from_array(y[:700], chunks=300)
    result = train(cut, validation=held_out, nodes=client)
    assert bits(result) == bits(alone)
    assert result.history[-1].validation_loss == alone.history[-1].validation_loss


def test_dask_frames_train_with_the_bits_of_a_pandas_frame(client: Any) -> None:
    frames = pytest.importorskip("dask.dataframe")
    X, y = data("softmax")
    frame = pd.DataFrame(X, columns=[f"c{k}" for k in range(X.shape[1])])
    frame["label"] = np.where(y > 0, "yes", "no")
    cut = frames.from_pandas(frame, npartitions=3)
    features = [name for name in frame.columns if name != "label"]
    result = train((cut[features], cut["label"]), nodes=client)
    alone = train((frame[features], frame["label"]))
    assert bits(result) == bits(alone)
    assert result.feature_names == alone.feature_names == tuple(features)


def test_partitions_keep_their_order_whatever_their_keys_are(client: Any) -> None:
    delayed = pytest.importorskip("dask").delayed
    frames = pytest.importorskip("dask.dataframe")
    X, y = data("softmax")
    X, y = X[:1200], y[:1200] > 0
    frame = pd.DataFrame(X, columns=[f"c{k}" for k in range(X.shape[1])]).assign(y=y)
    parts = [delayed(frame[k : k + 100], name=f"{99 - k // 100:d}") for k in range(0, 1200, 100)]
    rows = frames.from_delayed(parts, meta=frame[:0], verify_meta=False)
    expected = bits(train((X, y), epochs=2))
    assert bits(train((rows[frame.columns[:-1]], rows["y"]), nodes=client, epochs=2)) == expected
    blocks = [
        da.from_delayed(delayed(X[k : k + 100], name=f"x{99 - k // 100}"), (100, 20), X.dtype)
        for k in range(0, 1200, 100)
    ]
    labels = da.from_array(y, chunks=100)
    assert bits(train((da.concatenate(blocks), labels), nodes=client, epochs=2)) == expected


def test_arrays_in_memory_and_paths_train_on_the_workers(client: Any, tmp_path: Path) -> None:
    X, y = data("sparse")
    expected = bits(train((X, y)))
    assert bits(train((X, y), nodes=client)) == expected
    ht.save_directory(tmp_path / "rows", X, y)
    nodes = ht.Nodes(client, max_nodes=1)
    result = train(str(tmp_path / "rows"), nodes=nodes)
    assert bits(result) == expected
    assert result.settings["nodes"]["lines"][0].startswith("1 node: ")
    assert node_tasks(client) == []


def assert_as_alone(result: ht.Result) -> None:
    n_epochs = len(result.history)
    alone = train(
        data("sparse"), epochs=_MOST_EPOCHS, callbacks=[lambda record: record.epoch == n_epochs]
    )
    assert bits(result) == bits(alone)


def test_a_killed_worker_leaves_the_run_to_the_others_and_its_successor_joins(
    cluster: Any, caplog: pytest.LogCaptureFixture
) -> None:
    struck: list[int] = []

    def kill() -> None:
        pid = min(pids_of(cluster.client).values())
        struck.extend([pid, *children_of(pid)])
        os.kill(pid, signal.SIGKILL)

    on_epoch = strike_and_await(caplog, kill, r"left: its Dask worker is gone(.|\n)* came")
    result = train(
        on_dask(), nodes=cluster.client, epochs=_MOST_EPOCHS, callbacks=[on_epoch], timeout=6.0
    )
    assert_as_alone(result)
    lines = result.settings["nodes"]["lines"]
    assert re.match(r"1 node; node .* left: its Dask worker is gone; its rows go to ", lines[1])
    assert re.match(r"2 nodes: .*; node .* came; ", lines[2])
    assert len(struck) == 2
    require_ended(struck)
    assert node_tasks(cluster.client) == []


def test_a_worker_that_is_added_joins_and_one_that_is_retired_leaves(
    cluster: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = cluster.client
    first = set(client.scheduler_info()["workers"])
    on_epoch = strike_and_await(caplog, lambda: cluster.scale(3), r"3 nodes: .* came")
    retired: list[str] = []

    def end(record: ht.EpochRecord) -> bool:
        if on_epoch(record) and not retired:
            retired.append(min(first))
            client.retire_workers(retired, close_workers=True)
        return bool(retired) and re.search(r"2 nodes; .* left: ", caplog.text) is not None

    result = train(on_dask(), nodes=client, epochs=_MOST_EPOCHS, callbacks=[end], timeout=6.0)
    assert_as_alone(result)
    lines = result.settings["nodes"]["lines"]
    assert re.match(r"3 nodes: .*; node .* came; ", lines[1])
    name = retired[0].removeprefix("tcp://")
    # Dask retires a worker within the time between two looks, unless it must move much.
    assert re.search(f"node {name} left: its (machine is taken away|Dask worker is gone)", lines[2])


def test_a_run_that_is_cut_short_leaves_no_task_and_no_process(client: Any) -> None:
    seen: list[int] = []

    def stop(record: ht.EpochRecord) -> bool:
        seen.extend(child for pid in pids_of(client).values() for child in children_of(pid))
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        train(on_dask(), nodes=client, epochs=_MOST_EPOCHS, callbacks=[stop])
    assert len(seen) == 2
    assert node_tasks(client) == []
    require_ended(seen)


def test_a_worker_without_partitions_takes_part_once_one_with_them_is_lost(
    cluster: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = cluster.client
    cluster.scale(3)
    client.wait_for_workers(3)
    goes, stays, without = pids_of(client)
    kept = client.persist(list(on_dask()), workers=[goes, stays])
    distributed.wait(kept)
    assert without not in {w for holders in client.who_has(kept).values() for w in holders}
    came = f"node {without.removeprefix('tcp://')} came"
    on_epoch = strike_and_await(caplog, lambda: client.retire_workers([goes]), came)
    result = train(
        tuple(kept), nodes=client, epochs=_MOST_EPOCHS, callbacks=[on_epoch], timeout=6.0
    )
    assert_as_alone(result)
    assert result.settings["nodes"]["lines"][0].startswith("2 nodes: ")
    assert came in caplog.text


def test_a_cluster_that_ends_in_the_middle_ends_the_run(cluster: Any) -> None:
    def end(record: ht.EpochRecord) -> None:
        if record.epoch == 2:
            cluster.close()

    with pytest.raises(NodesLostError, match=r"engine: the Dask cluster at|nodes are there"):
        train(on_dask(), nodes=cluster.client, epochs=_MOST_EPOCHS, callbacks=[end], timeout=3.0)


def test_a_task_that_dask_has_moved_ends_at_once(client: Any) -> None:
    config = NodeConfig(
        name="a",
        incarnation=1,
        address="tcp://127.0.0.1:9",
        token="",
        wait=1.0,
        workers=None,
        comes=False,
    )
    moved = client.submit(run_node, "tcp://127.0.0.1:9", config, {}, pure=False)
    assert tuple(moved.result(timeout=_SECONDS)) == ("engine", "moved")


def test_a_channel_that_others_can_read_is_warned_of(
    client: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dask_engine.DaskEngine(client, {}).close()
    assert "is not encrypted" not in caplog.text
    monkeypatch.setattr(dask_engine, "_is_local", lambda host: False)
    dask_engine.DaskEngine(client, {}).close()
    assert "is not encrypted: who reads its network gets the token" in caplog.text


def test_errors_name_the_layer_that_failed(client: Any, tmp_path: Path) -> None:
    X, y = on_dask()
    with pytest.raises(InvalidDataError, match=r"y must be cut into partitions as X is, got 3 "):
        train((X, y.rechunk(1000)), nodes=client)
    with pytest.raises(InvalidDataError, match="all be dask collections, or none"):
        train((X, data("sparse")[1]), nodes=client)
    with pytest.raises(InvalidDataError, match=r"data: Dask cannot compute partition .*no such"):
        train((X.map_blocks(_fail, dtype=X.dtype, meta=X._meta), y), nodes=client)
    with pytest.raises(InvalidDataError, match=r"node 127.0.0.1:.*: .*must hold two classes"):
        train((X, da.zeros_like(y)), nodes=client)
    with pytest.raises(OSError, match=r"node 127.0.0.1:.*: there is no .*absent on this node"):
        train(str(tmp_path / "absent"), nodes=client)
    with pytest.raises(NodesLostError, match=r"engine: 3 nodes must begin, .* Dask cluster at tcp"):
        train((X, y), nodes=ht.Nodes(client, min_nodes=3, wait=2.0))
    with pytest.raises(InvalidDataError, match=r"nodes=client, or pass X\.compute"):
        train((X, y))
    with pytest.raises(InvalidSettingError, match="min_nodes and max_nodes go with"):
        ht.Nodes(2, max_nodes=3)
    assert node_tasks(client) == []


def _fail(block: Any) -> Any:
    raise RuntimeError("no such rows")
