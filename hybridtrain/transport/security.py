# SPDX-License-Identifier: BSD-3-Clause
"""Who may take part: a token, the keys that follow from it, and which addresses need them.

Each node derives the same two pairs of keys from the token, and nothing is exchanged. CURVE alone
authenticates the listener only: a client that knows its public key gets in. So a gatekeeper (ZAP,
RFC 27) compares the client's key, and a listener without a gatekeeper lets nobody in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
import secrets
import stat
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from hybridtrain.errors import InvalidSettingError

TOKEN_VARIABLE = "HYBRIDTRAIN_TOKEN"
_LEAST_BYTES = 16  # attackers may try guesses against a recorded handshake
_DOMAIN = b"ht"
_GATE = "inproc://zeromq.zap.01"
_VERSION = b"1.0"  # of ZAP
logger = logging.getLogger(__name__)


def new_token() -> str:
    """Return a token of 256 random bits, in base32."""
    return base64.b32encode(secrets.token_bytes(32)).decode().rstrip("=")


def read_token(path: str | Path | None = None) -> str:
    """Return the token from a file, or else from the environment.

    Parameters
    ----------
    path : path-like, optional
        A file of the mode 0600 or less, which holds the token alone. None: the environment
        variable HYBRIDTRAIN_TOKEN.

    Raises
    ------
    InvalidSettingError
        When there is no token, or others may read or write its file.
    """
    if path is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
        if not token:
            raise InvalidSettingError(f"set {TOKEN_VARIABLE}, or name a file with the token")
        return token
    try:
        with Path(path).open(encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise InvalidSettingError(
                    f"the token file {path} must be its owner's alone (chmod 600), got mode "
                    f"{mode:04o}"
                )
            return file.read(1024).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettingError(f"the token file {path} cannot be read: {error}") from error


class Security:
    """The keys that follow from a token; each connection is encrypted and authenticated.

    Parameters
    ----------
    token : str
        Base32 of at least 128 random bits, as `new_token` makes them.

    Raises
    ------
    InvalidSettingError
        When the token is shorter, or no base32. The message does not show it.

    References
    ----------
    Bernstein (2011), CurveCP; ZeroMQ RFC 26 (CurveZMQ) and RFC 27 (ZAP).
    """

    def __init__(self, token: str) -> None:
        try:
            self._token = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
        except (binascii.Error, ValueError):
            raise InvalidSettingError(
                "a token must be base32 (A-Z and 2-7), as by hybridtrain.transport.security."
                f"new_token(), got {len(token)} characters with others among them"
            ) from None
        if len(self._token) < _LEAST_BYTES:
            raise InvalidSettingError(
                f"a token must have >= 128 random bits (26 characters of base32), got "
                f"{8 * len(self._token)} bits"
            )

    def job(self, name: str) -> bytes:
        """Return the 16 bytes of a job, for links: of another name or token they differ."""
        return self._derived(b"ht-job" + name.encode())[:16]

    def guard_listener(self, socket: Any) -> None:
        """Prepare a socket, before it is bound, to accept only whom a gatekeeper lets in."""
        import zmq  # noqa: PLC0415 - optional

        secret, public = self._pair(b"ht-node-server")
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without a gatekeeper nobody gets in

    def guard_client(self, socket: Any) -> None:
        """Prepare a socket, before it connects, to reach only listeners that know the token."""
        import zmq  # noqa: PLC0415 - optional

        secret, public = self._pair(b"ht-node-client")
        socket.setsockopt(zmq.CURVE_SERVERKEY, self._pair(b"ht-node-server")[1])
        socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, public)

    def is_client(self, key: bytes) -> bool:
        """Return whether a public key of 32 bytes follows from the token."""
        from zmq.utils import z85  # noqa: PLC0415 - optional

        return hmac.compare_digest(key, z85.decode(self._pair(b"ht-node-client")[1]))

    def _derived(self, use: bytes) -> bytes:
        return hashlib.blake2b(use, key=self._token[:64], digest_size=32).digest()

    def _pair(self, role: bytes) -> tuple[bytes, bytes]:
        """Return a role's secret and public key."""
        import zmq  # noqa: PLC0415 - optional
        from zmq.utils import z85  # noqa: PLC0415 - optional

        secret = z85.encode(hashlib.blake2b(self._token, digest_size=32, person=role).digest())
        return secret, zmq.curve_public(secret)


class Gatekeeper:
    """Answers for a context's listeners whether a client may come in.

    Parameters
    ----------
    context : zmq.Context
    security : Security
    refused : Counter
        Counts as "client" each one that is not let in.

    Attributes
    ----------
    socket : zmq.Socket
        Readable when a client waits for an answer.
    """

    def __init__(self, context: Any, security: Security, refused: Counter[str]) -> None:
        import zmq  # noqa: PLC0415 - optional

        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(_GATE)
        self._nothing_there = zmq.Again
        self._no_wait = zmq.NOBLOCK
        self._security = security
        self._refused = refused

    def answer(self) -> None:
        """Answer all clients that wait."""
        while True:
            try:
                request = self.socket.recv_multipart(self._no_wait)
            except self._nothing_there:
                return
            is_in = (
                len(request) == 7
                and request[0] == _VERSION
                and request[2] == _DOMAIN
                and request[5] == b"CURVE"
                and self._security.is_client(request[6])
            )
            if not is_in:
                self._refused["client"] += 1
            status = (b"200", b"OK") if is_in else (b"400", b"")
            number = request[1] if len(request) > 1 else b""
            self.socket.send_multipart([_VERSION, number, *status, b"", b""])


def require_safe(address: str, security: Security | None, insecure: bool) -> None:
    """Check that an address may be listened at or connected to.

    Without security these are ipc and loopback; with it, or if `insecure`, all but those that
    mean every interface.

    Raises
    ------
    InvalidSettingError
        When it may not.
    """
    host = _host(address)
    if host in ("*", "0.0.0.0", "::"):
        raise InvalidSettingError(
            f"address must name one interface, got {address!r}, which means all of them"
        )
    if security is not None or is_local(address):
        return
    if not insecure:
        raise InvalidSettingError(
            f"address must be this machine's own without a token, got {address!r}; set "
            f"{TOKEN_VARIABLE}, or pass insecure=True on a network that nobody else uses"
        )
    logger.warning("%s is open to all who reach it, and its traffic to all who see it", address)


def is_local(address: str) -> bool:
    """Whether only processes of this machine reach an address: ipc and loopback."""
    host = _host(address)
    return host is None or _is_loopback(host)


def _host(address: str) -> str | None:
    """Return the host of a TCP address; None: it is a place in the file system."""
    if address.startswith("ipc://"):
        return None
    return address.removeprefix("tcp://").rpartition(":")[0].strip("[]")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
