# SPDX-License-Identifier: BSD-3-Clause
"""What launchers say by variables, and addresses as users write them."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from hybridtrain.errors import InvalidSettingError
from hybridtrain.nodes.addresses import is_listened_at, numeric, route_to
from hybridtrain.nodes.environment import first_host, place_of

TORCH = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}
SLURM = {
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "4",
    "SLURM_JOB_ID": "1012345",
    "SLURM_JOB_NODELIST": "node[007-009,12],login",
}


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        (TORCH, (1, 4, "node0:29501")),
        (SLURM, (3, 4, "node007:22345")),
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "5"}, (3, 5, "node007:22345")),
        ({**SLURM, "HYBRIDTRAIN_ADDRESS": "10.0.0.4:7000"}, (3, 4, "10.0.0.4:7000")),
        ({**SLURM, **TORCH}, (1, 4, "node0:29501")),
        (
            {"PMI_RANK": "0", "PMI_SIZE": "2", "HYBRIDTRAIN_ADDRESS": "a:1"},
            (0, 2, "a:1"),
        ),
        (
            {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1", **TORCH, "RANK": "0"},
            (0, 4, "node0:29501"),
        ),
    ],
)
def test_a_launcher_says_which_process_this_is(variables: dict[str, str], place: Any) -> None:
    assert place_of(variables) == place


@pytest.mark.parametrize(
    ("variables", "what"),
    [
        ({}, "srun, mpiexec or torchrun"),
        ({"RANK": "1"}, "found none"),
        ({**TORCH, "RANK": "4"}, "RANK=4, which must be below WORLD_SIZE=4"),
        ({**TORCH, "RANK": "-1"}, "RANK must be a whole number >= 0, got '-1'"),
        ({**TORCH, "MASTER_PORT": "x"}, "MASTER_PORT must be"),
        ({"PMI_RANK": "0", "PMI_SIZE": "2"}, "MPICH .* set HYBRIDTRAIN_ADDRESS=HOST:PORT"),
    ],
)
def test_variables_that_say_too_little_are_refused(variables: dict[str, str], what: str) -> None:
    with pytest.raises(InvalidSettingError, match=what):
        place_of(variables)


def test_the_first_host_of_a_list_is_found() -> None:
    lists = {"a": "a", "a[1,3-4],b": "a1", "a[01-10]-ib,b": "a01-ib", "r[2-3]n[5]": "r2n5"}
    assert {each: first_host(each) for each in lists} == lists


def test_addresses_are_turned_into_numbers() -> None:
    assert numeric("127.0.0.1:7000") == "tcp://127.0.0.1:7000"
    assert numeric("tcp://localhost:*", any_port=True) == "tcp://127.0.0.1:*"
    assert numeric("[::1]:7000") == "tcp://[::1]:7000"
    assert numeric("ipc:///run/a") == "ipc:///run/a"


@pytest.mark.parametrize(
    "wrong", ["", "7000", "a", ":7000", "a:", "a:0", "a:65536", "a:٣", "http://a:1", "a:1/b"]
)
def test_what_is_no_address_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidSettingError, match='must be "HOST:PORT"'):
        numeric(wrong)


def test_any_port_is_none_to_connect_to() -> None:
    with pytest.raises(InvalidSettingError, match=r"has a port, got '127.0.0.1:\*'"):
        numeric("127.0.0.1:*")


def test_a_host_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidSettingError, match="is not known on this machine"):
        numeric("no.such.host.invalid:7000")


def test_the_own_address_is_that_of_the_route() -> None:
    assert route_to("tcp://127.0.0.1:7000") == "tcp://127.0.0.1:*"
    assert route_to("ipc:///run/a") == "tcp://127.0.0.1:*"


def test_a_listener_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert is_listened_at(address)
    assert not is_listened_at(address)
