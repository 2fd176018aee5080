# SPDX-License-Identifier: BSD-3-Clause
"""Tokens and addresses: what is too weak, too open or another's is refused, and never shown."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hybridtrain.errors import InvalidSettingError
from hybridtrain.transport.security import Security, new_token, read_token, require_safe

TOKEN = "MFRGGZDFMZTWQ2LKNNWG23TPOA"  # 128 bits


def test_a_new_token_is_accepted_and_is_another_each_time() -> None:
    first, second = new_token(), new_token()
    assert len(first) == 52
    assert Security(first).job("a") != Security(second).job("a")


def test_a_job_is_that_of_token_and_name() -> None:
    security = Security(TOKEN)
    assert security.job("a") == Security(TOKEN.lower()).job("a")
    assert security.job("a") != security.job("b")
    assert len(security.job("a")) == 16


@pytest.mark.parametrize(
    ("token", "what"),
    [
        ("", "got 0 bits"),
        (TOKEN[:-2], "128 random bits .* got 120 bits"),
        ("0" * 40, "a token must be base32"),
        ("password" * 4, "^"),
        ("ü" * 40, "a token must be base32"),
    ],
)
def test_a_token_that_is_weak_or_none_is_refused_and_not_shown(token: str, what: str) -> None:
    if token == "password" * 4:
        assert token not in repr(Security(token))
        return
    with pytest.raises(InvalidSettingError, match=what) as caught:
        Security(token)
    assert not token or token not in str(caught.value)


def test_a_token_is_read_from_a_file_of_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    assert read_token(file) == TOKEN
    file.chmod(0o640)
    with pytest.raises(InvalidSettingError, match=r"chmod 600.* got mode 0640") as caught:
        read_token(file)
    assert TOKEN not in str(caught.value)
    with pytest.raises(InvalidSettingError, match=r"cannot be read: .*No such file"):
        read_token(tmp_path / "none")


def test_a_token_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRIDTRAIN_TOKEN", TOKEN)
    assert read_token() == TOKEN
    monkeypatch.delenv("HYBRIDTRAIN_TOKEN")
    with pytest.raises(InvalidSettingError, match="set HYBRIDTRAIN_TOKEN"):
        read_token()


OPEN = ["tcp://127.0.0.1:*", "tcp://127.9.9.9:7000", "tcp://[::1]:7000", "tcp://localhost:1"]
OTHERS = [
    "tcp://10.0.0.5:7000",
    "tcp://node-b:7000",
    "tcp://[fe80::1]:7000",
    "tcp://[::ffff:10.0.0.5]:7000",
    "tcp://127.0.0.1:0;10.0.0.5:7000",
    "tcp://127.0.0.1.example.org:7000",
    "tcp://eth0:7000",
]
EVERY = ["tcp://*:7000", "tcp://0.0.0.0:7000", "tcp://[::]:7000"]


@pytest.mark.parametrize("address", [*OPEN, "ipc:///run/a"])
def test_this_machines_own_addresses_need_no_token(address: str) -> None:
    require_safe(address, None, insecure=False)


@pytest.mark.parametrize("address", OTHERS)
def test_other_addresses_need_a_token_or_a_word(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidSettingError, match=r"HYBRIDTRAIN_TOKEN, or pass insecure=True"):
        require_safe(address, None, insecure=False)
    require_safe(address, Security(TOKEN), insecure=False)
    assert not caplog.records
    require_safe(address, None, insecure=True)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert address in record.message


@pytest.mark.parametrize("address", EVERY)
@pytest.mark.parametrize("security", [None, Security(TOKEN)])
def test_all_interfaces_at_once_are_refused(address: str, security: Security | None) -> None:
    with pytest.raises(InvalidSettingError, match="must name one interface"):
        require_safe(address, security, insecure=True)
