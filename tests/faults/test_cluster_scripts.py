# SPDX-License-Identifier: BSD-3-Clause
"""The scripts of examples/clusters, under launchers that start processes of this machine.

Each launcher here sets the variables of the real one, and nothing else.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.node_runs import data

import hybridtrain as ht
from hybridtrain.transport.security import new_token

SCRIPTS = Path(__file__).parents[2] / "examples" / "clusters"
SECONDS = 100
_SKIP = 'while [ "$1" != hybridtrain ]; do shift; done'
_RANKS = """
for rank in 0 1; do env {} "$@" & done
code=0; for each in $(jobs -p); do wait $each || code=1; done; exit $code
"""
LAUNCHERS = {
    "srun": _SKIP + _RANKS.format("SLURM_PROCID=$rank SLURM_NTASKS=2"),
    "mpiexec": f'[ "$2" = 2 ]; {_SKIP}'
    + _RANKS.format("OMPI_COMM_WORLD_RANK=$rank OMPI_COMM_WORLD_SIZE=2"),
    "torchrun": "export WORLD_SIZE=$2 RANK=$4 MASTER_ADDR=$9 MASTER_PORT=${11}\n"
    + f'{_SKIP}; exec "$@"',
    "ssh": 'shift; unset HYBRIDTRAIN_TOKEN; exec bash -c "$@"',
    "hybridtrain": f'exec {sys.executable} -m hybridtrain "$@"',
}


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Variables of a machine that has these launchers, and rows in the folder in hand."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    for name, text in LAUNCHERS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\nset -e\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    ht.save_directory(tmp_path / "rows", *data("logistic"))
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    package = str(Path(ht.__file__).parents[1])
    return {**os.environ, "PATH": path, "PYTHONPATH": package, "HYBRIDTRAIN_TOKEN": ""}


def free_port(first: int = 20_000) -> int:
    """Return a port that nobody listens at, nor at the next one."""
    for port in range(first + os.getpid() % 5_000, 30_000, 2):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


def run(script: str, *words: str, env: dict[str, str]) -> None:
    subprocess.run([SCRIPTS / script, *words], env=env, check=True, timeout=SECONDS)


def assert_as_alone(path: str) -> None:
    alone = ht.train(ht.Linear(), "rows", strategy="sync", epochs=20, progress=False)
    assert ht.load(path).params["coef"].tobytes() == alone.params["coef"].tobytes()


def test_slurm(env: dict[str, str]) -> None:
    job = str(free_port() - 20_000)
    given = {"SLURM_JOB_ID": job, "SLURM_JOB_NODELIST": "localhost"}
    run("slurm.sh", "rows", "a.npz", env=env | given)
    assert_as_alone("a.npz")


def test_mpiexec(env: dict[str, str]) -> None:
    given = {"HYBRIDTRAIN_ADDRESS": f"127.0.0.1:{free_port()}"}
    run("mpiexec.sh", "node1,node2", "rows", "a.npz", env=env | given)
    assert_as_alone("a.npz")


def test_torchrun(env: dict[str, str]) -> None:
    given = env | {"MASTER_PORT": str(free_port()), "HYBRIDTRAIN_TOKEN": new_token()}
    command = [SCRIPTS / "torchrun.sh", "127.0.0.1", "2"]
    with subprocess.Popen([*command, "1", "rows", "b.npz"], env=given) as other:
        run("torchrun.sh", "127.0.0.1", "2", "0", "rows", "a.npz", env=given)
        assert other.wait(SECONDS) == 0
    assert_as_alone("a.npz")
    assert not Path("b.npz").exists()


def test_ssh(env: dict[str, str]) -> None:
    run("ssh.sh", f"127.0.0.1:{free_port()}", "node1 node2", "rows", "a.npz", env=env)
    assert_as_alone("a.npz")


def test_the_commands_of_the_jobset(env: dict[str, str]) -> None:
    text = (SCRIPTS / "jobset.yaml").read_text()
    driver, node = (re.sub(r'"|,', "", words) for words in re.findall(r"command: \[(.*?)\]", text))
    assert text.count("HYBRIDTRAIN_TOKEN") == 1
    assert text.count("envFrom: [{secretRef: {name: hybridtrain-token}}]") == 2
    address = f"127.0.0.1:{free_port()}"
    driver = driver.replace("$(POD_IP):7000", address).replace("/data/", "")
    node = node.replace("train-driver-0-0.train:7000", address)
    assert (driver.count(address), node.count(address)) == (1, 1)
    given = env | {"HYBRIDTRAIN_TOKEN": new_token()}
    all_of_them = [subprocess.Popen(each.split(), env=given) for each in [driver, *[node] * 4]]
    try:
        assert [each.wait(SECONDS) for each in all_of_them] == [0] * 5
    finally:
        for each in all_of_them:
            each.kill()
            each.wait()
    assert_as_alone("model.npz")
