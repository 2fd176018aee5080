# SPDX-License-Identifier: BSD-3-Clause
"""The words of the command line about nodes: `hybridtrain node`, and where `train` finds nodes."""

from __future__ import annotations

import argparse
from typing import Any

from hybridtrain.cli.values import nodes as nodes_value

_NODE = """\
Take part in one run that another machine drives, then end. Prints one line whenever the nodes
that take part change. Ctrl-C or SIGTERM lets this node leave the run to the others.
"""
_NODE_EPILOG = """\
examples:
  export HYBRIDTRAIN_TOKEN=$(hybridtrain node --new-token)     the same on every machine
  hybridtrain train data.npz --strategy sync --nodes 2 --listen 10.0.0.4:7000
  hybridtrain node --join 10.0.0.4:7000                        on two other machines

exit codes:
  0 the run is done; 1 this node could not take part or was left out, or the run was lost;
  2 the command line is wrong; 130, 143 it was asked to end (Ctrl-C, SIGTERM)
"""


def add_node(found: Any, run: Any) -> None:
    """Add `hybridtrain node` to the commands."""
    parser = found.add_parser(
        "node",
        help="take part in a run of another machine",
        description=_NODE,
        epilog=_NODE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, parser=parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--join", metavar="HOST:PORT", help="where the driver listens")
    what.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="wait here for a driver, which names this address: nodes=[...] in Python",
    )
    what.add_argument("--new-token", action="store_true", help="print a new token, and end")
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="where the others reach this node (default: the address that the route to the "
        "driver leaves from, any free port)",
    )
    parser.add_argument("--name", metavar="NAME", help="of this node (default: of the machine)")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="how many train (default: as the driver says)"
    )
    _add_trust(parser)


def add_nodes(parser: argparse.ArgumentParser) -> None:
    """Add to `hybridtrain train` where its nodes are."""
    group = parser.add_argument_group("nodes")
    group.add_argument(
        "--nodes",
        type=nodes_value,
        metavar="N|env|A,B,...",
        help="train on N nodes of this machine, or with --listen of others; on the machines of a "
        "launcher (env); or on nodes that listen at the addresses A, B, ...",
    )
    group.add_argument(
        "--listen", metavar="HOST:PORT", help="wait here for nodes of other machines"
    )
    _add_trust(group)


def _add_trust(group: Any) -> None:
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help="with the token that all have, of mode 0600 (default: the variable HYBRIDTRAIN_TOKEN)",
    )
    group.add_argument(
        "--insecure",
        action="store_true",
        help="go without a token beyond this machine: on a network that nobody else uses",
    )
    group.add_argument(
        "--wait",
        type=float,
        default=600.0,
        metavar="S",
        help="seconds for which the other side is waited for (default: %(default)g)",
    )
