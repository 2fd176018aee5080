"""The receiving half of bench/test_link.py, a process of its own.

Prints where it listens, takes one frame to warm up, then the number of frames that it was told,
and prints the seconds that they took. Of an echo it sends each frame back.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import zmq

from hybridtrain.transport.frame import Frame
from hybridtrain.transport.security import Security
from hybridtrain.transport.zeromq import ZeroMQLink

JOB = bytes(16)
TOKEN = "MFRGGZDFMZTWQ2LKNNWG23TPOA"
KIND = 16


def link(is_curve: bool) -> ZeroMQLink:
    """Return a link of the benchmark's job."""
    return ZeroMQLink(job=JOB, security=Security(TOKEN) if is_curve else None)


def _by_link(is_curve: bool, n: int, is_echo: bool) -> float:
    here = link(is_curve)
    print(here.address, here.incarnation, flush=True)
    count, start = 0, 0.0
    while count <= n:
        for sender, frame in here.receive(1.0):
            count += 1
            if is_echo:
                here.send(sender, Frame(KIND, body=bytes(frame.body)))
            start = start or time.perf_counter()
    seconds = time.perf_counter() - start
    here.flush(10.0)
    here.receive(0.2)  # what it owes is an acknowledgement
    here.close()
    return seconds


def _bare(is_curve: bool, n: int, is_echo: bool) -> float:
    context = zmq.Context()
    router: Any = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.RCVHWM, 8)
    public = b"-"
    if is_curve:
        public, secret = zmq.curve_keypair()
        router.setsockopt(zmq.CURVE_SERVER, 1)
        router.setsockopt(zmq.CURVE_SECRETKEY, secret)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    print(f"tcp://127.0.0.1:{port}", public.decode(), flush=True)
    start = 0.0
    for _ in range(n + 1):
        parts = router.recv_multipart(copy=is_echo)
        if is_echo:
            router.send_multipart(parts)
        start = start or time.perf_counter()
    seconds = time.perf_counter() - start
    context.destroy(linger=1000)
    return seconds


if __name__ == "__main__":
    by, frames = sys.argv[1], int(sys.argv[2])
    receive = _by_link if by == "link" else _bare
    print(receive("curve" in sys.argv, frames, "echo" in sys.argv), flush=True)
