# SPDX-License-Identifier: BSD-3-Clause
"""ZeroMQ's links: what is missing or wrong is said, and nothing stays open."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from hybridtrain.errors import InvalidSettingError, MissingPackageError
from hybridtrain.transport.zeromq import ZeroMQLink

JOB = bytes(16)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zmq", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'hybridtrain\[nodes\]'"):
        ZeroMQLink(job=JOB)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:70000", "tcp://127.0.0.1", "127.0.0.1:7000"])
def test_an_address_to_listen_at_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InvalidSettingError, match="address must be"):
        ZeroMQLink(address, job=JOB)


def test_an_address_in_use_is_refused_and_nothing_stays_open() -> None:
    descriptors = Path(f"/proc/{os.getpid()}/fd")
    before = len(list(descriptors.iterdir()))
    link = ZeroMQLink(job=JOB)
    with pytest.raises(InvalidSettingError, match="Address already in use"):
        ZeroMQLink(link.address, job=JOB)
    link.connect(5, "tcp://127.0.0.1:1")
    link.disconnect(5)
    link.connect(5, "tcp://127.0.0.1:1")
    link.close()
    assert len(list(descriptors.iterdir())) == before


def test_a_place_in_the_file_system_is_gone_with_its_link(tmp_path: Path) -> None:
    link = ZeroMQLink(f"ipc://{tmp_path}/here", job=JOB)
    assert (tmp_path / "here").is_socket()
    link.close()
    assert not (tmp_path / "here").exists()
