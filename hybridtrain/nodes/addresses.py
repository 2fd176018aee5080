# SPDX-License-Identifier: BSD-3-Clause
"""Addresses: from words to numbers, and which of this machine's own others reach."""

from __future__ import annotations

import contextlib
import socket

from hybridtrain.arguments import shown
from hybridtrain.errors import InvalidSettingError

_LOOK_SECONDS = 1.0


class UnknownHostError(InvalidSettingError):
    """Raised when the name of a host is not known, perhaps not yet."""


def numeric(address: str, *, any_port: bool = False) -> str:
    """Return an address with its host as a number: "tcp://10.0.0.5:7000".

    Parameters
    ----------
    address : str
        "HOST:PORT" or "tcp://HOST:PORT", or "ipc://PATH".
    any_port : bool
        Whether the port may be "*": any free one, to listen at.

    Raises
    ------
    InvalidSettingError
        When it has another form.
    UnknownHostError
        When there is no such host.
    """
    if address.startswith("ipc://"):
        return address
    host, port = _split(address)
    if port == "*" and not any_port:
        raise InvalidSettingError(f"an address to connect to has a port, got {shown(address)}")
    if host == "*":
        return f"tcp://*:{port}"  # refused where it is listened at
    try:
        choices = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnknownHostError(
            f"the host of {address!r} is not known on this machine: {error}; use its number"
        ) from error
    numbers = sorted(choices, key=lambda each: each[0] != socket.AF_INET)
    return _joined(str(numbers[0][4][0]), port)


def route_to(address: str) -> str:
    """Return an address of this machine, at any free port, that a peer at `address` reaches.

    It is the one that the route to the peer leaves from. Nothing is sent.

    Raises
    ------
    InvalidSettingError
        When there is no route.
    """
    if address.startswith("ipc://"):
        return "tcp://127.0.0.1:*"
    host, _ = _split(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError as error:
            raise InvalidSettingError(f"there is no route to {address}: {error}") from error
        return _joined(probe.getsockname()[0], "*")


def is_listened_at(address: str) -> bool:
    """Return whether any program accepts a connection at an address, within a second."""
    if address.startswith("ipc://"):
        return True
    host, port = _split(address)
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), _LOOK_SECONDS):
        return True
    return False


def _split(address: str) -> tuple[str, str]:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_port = port == "*" or (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16)
    if not host or not is_port or "/" in host:
        raise InvalidSettingError(
            f'an address must be "HOST:PORT", such as 10.0.0.5:7000, got {shown(address)}'
        )
    return host, port


def _joined(host: str, port: str) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
