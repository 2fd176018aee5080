# SPDX-License-Identifier: BSD-3-Clause
"""Nodes that join from elsewhere: the bits of one node, clear ends of all, and nothing left."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from support.capture import captured

import hybridtrain as ht
from hybridtrain.errors import NodesLostError
from hybridtrain.nodes.addresses import is_listened_at
from hybridtrain.run.checkpoint import newest
from hybridtrain.transport.security import new_token

SETTINGS: dict[str, Any] = {"strategy": "sync", "workers": 1, "batch_size": 96}
NODE = [sys.executable, "-m", "hybridtrain", "node"]
SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_port() -> int:
    """Return a port that the system gives to no connection of other processes."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def save_rows(folder: Path, *, is_other: bool = False) -> None:
    X = sp.random(2000, 300, density=0.03, format="csr", dtype=np.float32, random_state=0)
    np.save(folder / "rows.y.npy", X @ np.random.default_rng(0).standard_normal(300) > 0)
    X.data[-1] += np.float32(1e-6) * is_other  # one value, and no target
    sp.save_npz(folder / "rows.npz", X)


def train(data: Any = "rows.npz", **more: Any) -> ht.Result:
    return ht.train(ht.Linear(), data, **{**SETTINGS, "epochs": 3, "progress": False, **more})


def bits(result: ht.Result) -> bytes:
    return bytes(np.asarray(result.params["coef"]).tobytes())


class Nodes:
    """Start programs, and end them with the test."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.all: list[subprocess.Popen[str]] = []

    def start(self, *words: str, command: list[str] = NODE, **env: str) -> subprocess.Popen[str]:
        self.all.append(
            subprocess.Popen(
                [*command, *words],
                env={**self.env, **env},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return self.all[-1]

    def end(self) -> None:
        for each in self.all:
            each.kill()
            each.communicate(timeout=SECONDS)


def in_folder(folder: Path) -> list[str]:
    """Return the command of a node in another folder."""
    return ["sh", "-c", f'cd "$0" && exec {" ".join(NODE)} "$@"', str(folder)]


def told(node: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error."""
    out, err = node.communicate(timeout=SECONDS)
    return node.returncode, out, err


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYBRIDTRAIN_TOKEN", new_token())
    save_rows(tmp_path)
    package = str(Path(ht.__file__).parents[1])
    started = Nodes({**os.environ, "PYTHONPATH": package})
    yield started
    started.end()


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in path.read_text().split()]


def test_nodes_that_join_have_the_bits_of_one(nodes: Nodes) -> None:
    address = f"127.0.0.1:{free_port()}"
    joined = [nodes.start("--join", address, "--name", "twin", "--workers", w) for w in "12"]
    result = train(nodes=ht.Nodes(2, listen=address), strategy="local_sgd")
    assert bits(result) == bits(train(strategy="local_sgd(replicas=2)"))  # workers of the driver
    assert result.settings["nodes"]["lines"][0].startswith("2 nodes: twin")
    for node in joined:
        code, out, err = told(node)
        assert (code, err) == (0, "")
        assert out.startswith("view 1: 2 nodes: twin")
        assert "twin-2" in out


def test_nodes_on_other_machines_start_from_what_the_driver_has(nodes: Nodes) -> None:
    address = f"127.0.0.1:{free_port()}"
    wide = np.random.default_rng(0).standard_normal(300).astype(np.float32)
    for init in (train(), {"coef": wide, "classes": [False, True]}):
        joined = [nodes.start("--join", address) for _ in range(2)]
        result = train(nodes=ht.Nodes(2, listen=address), init=init)
        assert bits(result) == bits(train(init=init)) != bits(train())
        assert [told(node)[0] for node in joined] == [0, 0]
    with pytest.raises(ht.InvalidSettingError, match="init must be a Result"):
        train(nodes=ht.Nodes(2, listen=address), init=3)


def test_nodes_that_listen_are_asked_by_their_addresses(nodes: Nodes) -> None:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    listening = [nodes.start("--listen", address) for address in addresses]
    optimizer = ht.SGD(momentum=0.5, schedule=ht.Warmup(1.0, then=ht.Cosine()))
    model = ht.Linear(loss="hinge", l2=1e-3, class_weight={False: 1.0, True: 2.0})
    given = {**SETTINGS, "optimizer": optimizer, "validation": 0.2, "progress": False}
    result = ht.train(model, "rows.npz", nodes=addresses, **given)
    assert bits(result) == bits(ht.train(model, "rows.npz", **given))
    assert result.model == model
    assert [told(node)[0] for node in listening] == [0, 0]


def test_a_node_that_is_asked_to_end_leaves_the_run_to_the_others(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hybridtrain.nodes.driving")
    address = f"127.0.0.1:{free_port()}"
    stays, goes = (nodes.start("--join", address, "--name", name) for name in ("stays", "goes"))
    children: list[int] = []

    def strike(record: ht.EpochRecord) -> bool:
        if record.epoch == 1:
            children.extend(children_of(goes.pid))
            goes.terminate()
        return "goes left" in caplog.text

    result = train(nodes=ht.Nodes(2, listen=address), epochs=100_000, callbacks=[strike])
    n_epochs = len(result.history)
    alone = train(epochs=100_000, callbacks=[lambda record: record.epoch == n_epochs])
    assert bits(result) == bits(alone)
    line = result.settings["nodes"]["lines"][1]
    assert line.startswith("1 node; node goes left: ")
    assert "its machine is taken away; its rows go to stays; step " in line
    assert [told(each)[0] for each in (stays, goes)] == [0, 143]
    [child] = children
    assert not Path(f"/proc/{child}").exists()


def test_a_node_whose_child_is_killed_comes_to_the_run_again(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hybridtrain.nodes.driving")
    address = f"127.0.0.1:{free_port()}"
    joined = [nodes.start("--join", address, "--name", name) for name in ("stays", "dies")]

    def strike(record: ht.EpochRecord) -> bool:
        if record.epoch == 1:
            [child] = children_of(joined[1].pid)
            os.kill(child, signal.SIGKILL)
        return "dies-2 came" in caplog.text

    given = {"epochs": 100_000, "checkpoint": "saved"}
    result = train(nodes=ht.Nodes(2, listen=address), timeout=3.0, callbacks=[strike], **given)
    n_epochs = len(result.history)
    alone = train(epochs=100_000, callbacks=[lambda record: record.epoch == n_epochs])
    assert bits(result) == bits(alone)
    assert "dies left: silent" in caplog.text
    assert [told(each)[0] for each in joined] == [0, 0]
    again = nodes.start("--join", address)
    whole = train(nodes=ht.Nodes(1, listen=address), resume=True, **given)  # it is over
    assert bits(whole) == bits(result)
    assert told(again)[0] == 0


def test_nodes_whose_driver_is_killed_save_the_run_and_end(nodes: Nodes) -> None:
    address = f"127.0.0.1:{free_port()}"
    words = "train rows.npz --strategy sync --batch-size 96 --workers 1 --nodes 2 --timeout 4"
    more = ["--listen", address, "--epochs", "400", "--checkpoint", "saved"]
    driver = nodes.start(*words.split(), *more, command=NODE[:-1])
    joined = [nodes.start("--join", address) for _ in range(2)]
    for node in joined:
        assert node.stdout is not None
        assert node.stdout.readline().startswith("view ")
    time.sleep(0.5)
    assert driver.poll() is None
    driver.kill()
    killed = time.monotonic()
    for code, _, err in map(told, joined):
        assert code == 1
        assert "the driver: silent" in err
    assert time.monotonic() - killed < 2 * 4
    assert len(os.listdir("saved")) == 1
    given = {"epochs": 400, "workers": 2}
    result = train(checkpoint="saved", resume=True, **given)
    assert result.settings["resumed"] is not None
    assert bits(result) == bits(train(**given))


def test_a_node_that_is_asked_to_end_while_it_reads_its_rows_ends_the_run(nodes: Nodes) -> None:
    os.mkfifo("rows.svm")
    address = f"127.0.0.1:{free_port()}"
    node = nodes.start("--join", address, "--name", "early")

    def end_it_early() -> None:
        with open("rows.svm", "wb"):  # the node is there and waits for the rest
            node.terminate()
            node.wait(SECONDS)

    thread = threading.Thread(target=end_it_early)
    thread.start()
    with pytest.raises(NodesLostError, match="node early: it was asked to end before it could"):
        train("rows.svm", nodes=ht.Nodes(1, listen=address))
    thread.join()
    assert told(node)[0] == 143


def test_a_node_with_another_token_is_told_soon_and_not_let_in(nodes: Nodes) -> None:
    address = f"127.0.0.1:{free_port()}"
    ended: list[tuple[int, str, str]] = []

    def send_another() -> None:
        while not is_listened_at(f"tcp://{address}"):
            time.sleep(0.05)
        stranger = nodes.start("--join", address, "--wait", "1", HYBRIDTRAIN_TOKEN=new_token())
        ended.append(told(stranger))
        ended.append(told(nodes.start("--join", address)))

    thread = threading.Thread(target=send_another)
    thread.start()
    assert bits(train(nodes=ht.Nodes(1, listen=address))) == bits(train())
    thread.join()
    (code, out, err), right = ended
    assert right[0] == 0
    assert (code, out) == (1, "")
    assert "the same token" in err
    assert f"tcp://{address} is listened at, but does not answer" in err


@pytest.mark.parametrize("has_token", [False, True])
def test_captured_traffic_holds_no_parameters_if_there_is_a_token(
    has_token: bool, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one the same looks find parameters, frames and the call; so they can find them."""
    if not has_token:
        monkeypatch.delenv("HYBRIDTRAIN_TOKEN")
        del nodes.env["HYBRIDTRAIN_TOKEN"]
    driver, *others = (f"127.0.0.1:{own_port()}" for _ in range(3))
    with ExitStack() as stack:
        ports = [int(each.rpartition(":")[2]) for each in (driver, *others)]
        try:
            packets = stack.enter_context(captured(ports))
        except PermissionError:
            pytest.skip("this process may not see all traffic: it has no CAP_NET_RAW")
        joined = [nodes.start("--join", driver, "--address", each) for each in others]
        result = train(nodes=ht.Nodes(2, listen=driver), init={"coef": np.arange(300) / 7})
        assert [told(node)[0] for node in joined] == [0, 0]
    seen = b"\0".join(packets)
    sent = sum(report.bytes_sent for report in result.nodes)
    assert len(seen) > sent > 100_000
    init = np.float32(np.arange(300) / 7).tobytes()
    of_frames = b"HTfr\x01\x00"  # they begin so
    for words in (bits(result)[400:432], init[400:432], b"rows.npz", of_frames):
        assert (words in seen) == (not has_token)


def test_who_waits_in_vain_says_for_whom(nodes: Nodes) -> None:
    nowhere, address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    joins = nodes.start("--join", nowhere, "--wait", "0.5")
    listens = nodes.start("--listen", address, "--wait", "0.5")
    with pytest.raises(NodesLostError, match=rf"nobody has answered at {nowhere} .*node --listen"):
        train(nodes=ht.Nodes([nowhere], wait=0.5))
    code, _, err = told(joins)
    assert (code, f"nobody has listened at tcp://{nowhere} for 0.5 s" in err) == (1, True)
    code, _, err = told(listens)
    assert (code, f"no driver has asked the node at tcp://{address}" in err) == (1, True)


def test_nodes_with_other_rows_or_without_rows_end_the_run(nodes: Nodes, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    script = in_folder(other)
    address = f"127.0.0.1:{free_port()}"
    lost = nodes.start("--join", address, "--name", "lost", command=script)
    with pytest.raises(OSError, match=rf"node lost: there is no rows.npz .* {other}: every node"):
        train(nodes=ht.Nodes(1, listen=address))
    assert told(lost)[0] == 1
    save_rows(other, is_other=True)
    right = nodes.start("--join", address)
    wrong = nodes.start("--join", address, command=script)
    with pytest.raises(NodesLostError, match="its rows, its settings or its start differ"):
        train(nodes=ht.Nodes(2, listen=address))
    assert [told(each)[0] for each in (right, wrong)] == [1, 1]


def test_nodes_that_go_on_from_different_checkpoints_end_before_a_step(
    nodes: Nodes, tmp_path: Path
) -> None:
    """Each machine has a folder of its own; in one of them a parameter is another."""

    other = tmp_path / "other"
    (other / "saved").mkdir(parents=True)
    save_rows(other)
    given = {"epochs": 4, "checkpoint": "saved"}
    with pytest.raises(KeyboardInterrupt):
        train(**given, callbacks=[lambda record: os.kill(os.getpid(), signal.SIGINT)])
    file, snapshot = newest("saved")
    snapshot.arrays[0, 7] += 1
    content = b"".join(snapshot.pieces())
    (other / file).write_bytes(content + hashlib.sha256(content).digest())
    address = f"127.0.0.1:{free_port()}"
    right = nodes.start("--join", address, "--name", "right")
    wrong = nodes.start("--join", address, "--name", "wrong", command=in_folder(other))
    with pytest.raises(NodesLostError, match=r"have different parameters before step \d+"):
        train(nodes=ht.Nodes(2, listen=address), resume=True, **given)
    assert [told(each)[0] for each in (right, wrong)] == [1, 1]


RANK = """
import sys, numpy as np, hybridtrain as ht, scipy.sparse as sp
X, y = sp.load_npz("rows.npz"), np.load("rows.y.npy")
seen = []
result = ht.train(ht.Linear(), (X, y), strategy="local_sgd", workers=1, batch_size=96, epochs=3,
                  nodes="env", callbacks=[seen.append], progress=False)
print(result.params["coef"].tobytes().hex(), len(seen), len(result.history))
"""


def test_every_rank_of_a_launcher_returns_the_result(nodes: Nodes) -> None:
    ranks = [
        nodes.start(
            command=[sys.executable, "-c", RANK],
            OMPI_COMM_WORLD_RANK=str(rank),
            OMPI_COMM_WORLD_SIZE="2",
            HYBRIDTRAIN_ADDRESS=(address := f"127.0.0.1:{free_port()}") if rank == 0 else address,
        )
        for rank in range(2)
    ]
    expected = bits(train(strategy="local_sgd(replicas=2)")).hex()  # as many as workers
    for rank, each in enumerate(ranks):
        code, out, err = told(each)
        assert (code, err) == (0, "")
        assert out.split() == [expected, "3" if rank == 0 else "0", "3"]


def test_the_command_trains_on_nodes(nodes: Nodes) -> None:
    command = [sys.executable, "-m", "hybridtrain", "train", "rows.npz", "--strategy", "sync"]
    words = ["--batch-size", "96", "--epochs", "3", "--workers", "1", "--save"]
    port = str(free_port() - 1)  # torchrun's own
    ranks = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    first, second, here = (
        nodes.start(*words, "a.npz", "--nodes", "env", command=command, RANK="0", **ranks),
        nodes.start(*words, "b.npz", "--nodes", "env", command=command, RANK="1", **ranks),
        nodes.start(*words, "c.npz", "--nodes", "2", command=command),
    )
    codes, outputs, _ = zip(*map(told, (first, second, here)), strict=True)
    assert codes == (0, 0, 0)
    for output in (outputs[0], outputs[2]):
        assert "chosen: 2 nodes of 1 worker, learning rate " in output
        assert re.search(r"\neach node sent [\d,]+ bytes a step, and waited \d+ % of its", output)
    assert "chosen" not in outputs[1]
    assert not Path("b.npz").exists()
    assert bits(ht.load("a.npz")) == bits(ht.load("c.npz")) == bits(train())
