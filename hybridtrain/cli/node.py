# SPDX-License-Identifier: BSD-3-Clause
"""`hybridtrain node`: one machine's part of a run that another machine drives."""

from __future__ import annotations

import argparse
import secrets
import socket
import sys

from hybridtrain.arguments import require_int
from hybridtrain.cli.console import say
from hybridtrain.errors import InvalidSettingError, MissingPackageError
from hybridtrain.nodes.places import Nodes


def node(args: argparse.Namespace) -> None:
    """Take part in one run, in a child of this process; exit with its code."""
    try:
        from hybridtrain.nodes.hosts import await_node, joining_words  # noqa: PLC0415 - optional
        from hybridtrain.nodes.local import LocalNode  # noqa: PLC0415 - as above
        from hybridtrain.transport.security import new_token  # noqa: PLC0415 - as above
    except ImportError as error:
        raise MissingPackageError(
            "nodes need pyzmq and msgspec; pip install 'hybridtrain[nodes]'"
        ) from error
    if args.new_token:
        say(new_token())
        return
    if args.workers is not None:
        require_int("--workers", args.workers, least=1)
    if args.address is not None and args.listen is not None:
        raise InvalidSettingError("--address goes with --join: --listen is an address itself")
    nodes = Nodes(1, token_file=args.token_file, insecure=args.insecure, wait=args.wait)
    words = {
        **joining_words(args.join, nodes),
        "listen": args.listen,
        "address": args.address,
        "workers": args.workers,
    }
    name = args.name or socket.gethostname()
    code = await_node(LocalNode(name, secrets.randbits(63) + 1, words, None))
    if code:
        sys.exit(code if code > 0 else 128 - code)
