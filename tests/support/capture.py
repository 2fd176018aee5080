# SPDX-License-Identifier: BSD-3-Clause
"""What goes over the loopback device, as the system shows it to who may see all traffic."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_ALL = 0x0003  # protocols
_ATTACH_FILTER = 26
_RECEIVE_BUFFER = 33  # beyond the limit that users have
_PORTS = 34  # where the header of TCP begins, after those of Ethernet and IP without options
_LOAD_2, _LOAD_1, _IF_EQUAL, _RETURN = 0x28, 0x30, 0x15, 0x06  # instructions of the filter


def _filter(ports: Sequence[int]) -> bytes:
    """Return a program that passes TCP over IPv4 from or to these ports."""
    n = len(ports)
    tests = [(_LOAD_2, 0, 0, 12), (_IF_EQUAL, 0, 2 * n + 4, 0x0800)]
    tests += [(_LOAD_1, 0, 0, 23), (_IF_EQUAL, 0, 2 * n + 2, 6)]
    for at in (_PORTS, _PORTS + 2):
        tests.append((_LOAD_2, 0, 0, at))
        tests += [(_IF_EQUAL, 0, 0, port) for port in ports]
    end = len(tests)
    for k in range(5, end):  # a port that is found: to the last instruction
        if tests[k][0] == _IF_EQUAL:
            tests[k] = (_IF_EQUAL, end - k, 0, tests[k][3])
    return b"".join(
        struct.pack("=HBBI", *each)
        for each in [*tests, (_RETURN, 0, 0, 0), (_RETURN, 0, 0, 1 << 18)]
    )


@contextmanager
def captured(ports: Sequence[int]) -> Iterator[list[bytes]]:
    """Keep the bytes of TCP from and to ports of 127.0.0.1.

    Yields
    ------
    list of bytes
        What each packet carries, as they come; each packet is there twice, and empty ones are not.

    Raises
    ------
    PermissionError
        When this process may not see all traffic.
    """
    packets: list[bytes] = []
    is_over = threading.Event()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.settimeout(0.05)
        raw.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER, 64 << 20)
        code = _filter(ports)
        held = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("HP", len(code) // 8, ctypes.addressof(held))
        raw.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        raw.bind(("lo", _ALL))  # only now: before the filter it would keep what is of others
        thread = threading.Thread(target=_keep, args=(raw, packets, is_over), name="capture")
        thread.start()
        try:
            yield packets
        finally:
            is_over.set()
            thread.join()


def _keep(raw: socket.socket, packets: list[bytes], is_over: threading.Event) -> None:
    while True:
        try:
            packet = raw.recv(1 << 18)
        except TimeoutError:
            if is_over.is_set():
                return
            continue
        payload = packet[_PORTS + 4 * (packet[_PORTS + 12] >> 4) :]
        if payload:
            packets.append(payload)
