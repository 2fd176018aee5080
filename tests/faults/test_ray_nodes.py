# SPDX-License-Identifier: BSD-3-Clause
"""Nodes on a cluster of Ray: the bits of one machine, whatever becomes of its machines."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.node_runs import bits, data
from support.ray_clusters import add_machine, cluster, node_processes, ray, require_no_node
from support.striking import strike_and_await

import hybridtrain as ht
from hybridtrain.errors import InvalidDataError, InvalidSettingError, NodesLostError

# Ray leaves files and sockets to the garbage collector, and warns of its own names.
pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),
]
SETTINGS: dict[str, Any] = {"strategy": "sync", "batch_size": 96, "progress": False}
PAGE = Path(__file__).parents[2] / "docs" / "ray.md"
_MOST_EPOCHS = 100_000
_SECONDS = 240.0


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """Two machines, of which tests leave two."""
    with cluster() as made:
        yield made


@pytest.fixture(autouse=True)
def _leaves_no_node(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level("ERROR", "ray")
    caplog.set_level("INFO", "hybridtrain.nodes.driving")
    yield
    require_no_node()


def train(data: Any, **more: Any) -> ht.Result:
    return ht.train(ht.Linear(l2=1e-4), data, **{**SETTINGS, "epochs": 4, **more})


def dataset() -> tuple[Any, Any]:
    """Return a dataset of three blocks, and its rows as a frame."""
    X, y = data("softmax")
    frame = pd.DataFrame(X, columns=[f"c{k}" for k in range(X.shape[1])])
    frame = frame.assign(label=np.where(y > 0, "yes", "no"), weight=np.linspace(0.5, 2.0, len(y)))
    pieces = [frame[:900], frame[900:1000], frame[1000:]]
    return ray.data.from_pandas(pieces), frame


@pytest.mark.usefixtures("machines")
def test_arrays_and_paths_train_with_the_bits_of_one_machine(tmp_path: Path) -> None:
    X, y = data("sparse")
    alone = train((X, y), validation=0.2)
    result = train((X, y), validation=0.2, nodes="ray")
    assert bits(result) == bits(alone)
    [line] = result.settings["nodes"]["lines"]
    assert re.match(r"2 nodes: [0-9.]+:[0-9a-f]{6}, [0-9.]+:[0-9a-f]{6}$", line)
    assert [(node.ended, node.workers) for node in result.nodes] == [("finished", 1)] * 2
    ht.save_directory(tmp_path / "rows", X, y)
    result = train(str(tmp_path / "rows"), nodes=ht.Nodes("ray", max_nodes=1))
    assert bits(result) == bits(train((X, y)))
    assert result.settings["nodes"]["lines"][0].startswith("1 node: ")


@pytest.mark.usefixtures("machines")
def test_a_dataset_trains_with_the_bits_of_its_frame() -> None:
    rows, frame = dataset()
    features = [f"c{k}" for k in range(20)]
    columns = frame["label"], frame["weight"]
    for k in (1, 2):
        given = (rows.drop_columns(["weight"]), "label") if k == 1 else (rows, "label", "weight")
        alone = train((frame[features], *columns[:k]))
        result = train(given, nodes="ray")
        assert bits(result) == bits(alone)
        assert result.feature_names == alone.feature_names == tuple(features)


@pytest.mark.usefixtures("machines")
def test_a_placement_group_has_a_node_in_each_bundle() -> None:
    rows, frame = dataset()
    rows = rows.drop_columns(["weight"]).materialize()  # the group leaves no CPU for it
    group = ray.util.placement_group([{"CPU": 1}] * 2, "SPREAD")
    try:
        ray.get(group.ready(), timeout=_SECONDS)
        result = train((rows, "label"), nodes=group)
    finally:
        ray.util.remove_placement_group(group)
    assert bits(result) == bits(train((frame.iloc[:, :20], frame["label"])))
    [line] = result.settings["nodes"]["lines"]
    assert sorted(re.findall("/[01]", line)) == ["/0", "/1"]
    with pytest.raises(InvalidSettingError, match="the placement group has been removed"):
        train((rows, "label"), nodes=group)


def run_on(on_epoch: Callable[[ht.EpochRecord], bool]) -> ht.Result:
    """Train until a callback ends the run; require the bits of one machine."""
    given = {"epochs": _MOST_EPOCHS, "timeout": 6.0}
    result = train(data("sparse"), nodes="ray", callbacks=[on_epoch], **given)
    last = len(result.history)
    alone = train(data("sparse"), callbacks=[lambda record: record.epoch == last], **given)
    assert bits(result) == bits(alone)
    return result


@pytest.mark.usefixtures("machines")
@pytest.mark.parametrize("what", ["actor", "node"])
def test_one_that_is_killed_leaves_the_run_to_the_others_and_another_comes(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    struck: list[int] = []

    def kill() -> None:
        node, actor = min(node_processes().items())
        struck.append(actor if what == "actor" else node)
        os.kill(struck[0], signal.SIGKILL)

    on_epoch = strike_and_await(caplog, kill, r"left: (.|\n)* came")
    lines = run_on(on_epoch).settings["nodes"]["lines"]
    assert len(struck) == 1
    assert re.match(r"1 node; node .* left: .*; its rows go to ", lines[1])
    assert re.match(r"2 nodes: .*; node .* came; ", lines[2])


def test_a_machine_that_comes_takes_part_and_one_that_is_lost_is_left_out(
    machines: Any, caplog: pytest.LogCaptureFixture
) -> None:
    added: list[Any] = []
    on_epoch = strike_and_await(
        caplog, lambda: added.append(add_machine(machines)), r"3 nodes: .* came"
    )
    lost: list[float] = []

    def end(record: ht.EpochRecord) -> bool:
        if on_epoch(record) and not lost:
            lost.append(time.monotonic())
            machines.remove_node(added[0], allow_graceful=False)
        return bool(lost) and re.search(r"2 nodes; .* left: ", caplog.text) is not None

    lines = run_on(end).settings["nodes"]["lines"]
    assert re.match(r"3 nodes: .*; node .* came; ", lines[1])
    assert re.match(r"2 nodes; node .* left: ", lines[2])
    assert time.monotonic() - lost[0] < _SECONDS


def test_a_machine_that_is_drained_leaves_between_two_steps(
    machines: Any, caplog: pytest.LogCaptureFixture
) -> None:
    third = add_machine(machines)
    try:
        machines.wait_for_nodes()
        on_epoch = strike_and_await(
            caplog, lambda: _drain(machines, third.node_id), "its machine is taken away"
        )
        lines = run_on(on_epoch).settings["nodes"]["lines"]
    finally:
        machines.remove_node(third, allow_graceful=False)
    assert lines[0].startswith("3 nodes: ")
    left = rf"2 nodes; node [0-9.]+:{third.node_id[:6]} left: its machine is taken away"
    assert re.match(left, lines[1])


def _drain(machines: Any, machine: str) -> None:
    """Tell Ray that a machine will be preempted, as a cloud's notice does."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node"]
    command += ["--address", machines.address, "--node-id", machine]
    command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test"]
    subprocess.run([*command, "--deadline-remaining-seconds", "600"], check=True)


@pytest.mark.usefixtures("machines")
def test_a_machine_whose_cpus_are_taken_has_no_node_until_they_are_free(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @ray.remote(num_cpus=1)
    class Busy:
        def there(self) -> bool:
            return True

    busy = Busy.remote()
    assert ray.get(busy.there.remote(), timeout=_SECONDS)
    on_epoch = strike_and_await(caplog, lambda: ray.kill(busy), r"2 nodes: .* came")
    began = time.monotonic()
    lines = run_on(on_epoch).settings["nodes"]["lines"]
    assert time.monotonic() - began < _SECONDS
    assert lines[0].startswith("1 node: ")
    with pytest.raises(InvalidSettingError, match=r"needs 2 CPUs of .* no machine has more than 1"):
        train(data("sparse"), nodes="ray", workers=2)


@pytest.mark.usefixtures("machines")
def test_a_run_that_is_cut_short_leaves_no_process() -> None:
    seen: list[int] = []

    def stop(record: ht.EpochRecord) -> bool:
        seen.extend(node_processes())
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        train(data("sparse"), nodes="ray", epochs=_MOST_EPOCHS, callbacks=[stop])
    assert len(seen) == 2


@pytest.mark.usefixtures("machines")
def test_errors_name_the_layer_that_failed(tmp_path: Path) -> None:
    rows, _ = dataset()
    X, y = data("sparse")

    def fail(block: Any) -> Any:
        raise RuntimeError("no such rows")

    for given, what in (
        (rows, r"data must be a tuple of a dataset and the column of y"),
        ((rows, "absent"), r"data: the dataset must have the column 'absent', has \['c0', "),
        ((rows, "label", "weight", "c0"), r"with names of columns, got"),
        ((rows.filter(lambda row: False), "label"), r"data: the dataset must have rows, has none"),
        (
            (rows.map_batches(fail), "label"),
            r"data: Ray cannot compute the dataset: (.|\n)*no such rows",
        ),
        ((X, np.zeros_like(y)), r"node [0-9.]+:.*: .*must hold two classes"),
    ):
        with pytest.raises(InvalidDataError, match=what):
            train(given, nodes="ray")
    with pytest.raises(OSError, match=r"node [0-9.]+:.*: there is no .*absent on this node"):
        train(str(tmp_path / "absent"), nodes="ray")
    with pytest.raises(NodesLostError, match=r"engine: 3 nodes must begin, .* the Ray cluster at "):
        train((X, y), nodes=ht.Nodes("ray", min_nodes=3, wait=2.0))
    with pytest.raises(InvalidSettingError, match="a run of an engine draws a token of its own"):
        ht.Nodes("ray", insecure=True)


def test_the_tutorial_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    command = [sys.executable, "-W", "ignore", "-c", "".join(blocks)]
    env = {**os.environ, "RAY_ADDRESS": "local"}  # no cluster of another test
    printed = subprocess.check_output(command, cwd=tmp_path, env=env, text=True, timeout=_SECONDS)
    assert "node" in printed.splitlines()[-1]
