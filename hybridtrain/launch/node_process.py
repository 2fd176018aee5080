# SPDX-License-Identifier: BSD-3-Clause
"""The main of a node's process; `LocalNode` of nodes/local.py writes its words."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybridtrain._core.attached import adopt
from hybridtrain.errors import HybridTrainError, InvalidSettingError
from hybridtrain.interrupts import Interrupted
from hybridtrain.nodes.addresses import numeric, route_to
from hybridtrain.nodes.calls import from_text
from hybridtrain.nodes.joining import JoinedPartner, await_host, await_invitation, join
from hybridtrain.nodes.local import taken
from hybridtrain.nodes.loop import LIMITS
from hybridtrain.nodes.meeting import Keys
from hybridtrain.nodes.orphan import ChildPartner
from hybridtrain.nodes.outcome import take_part
from hybridtrain.nodes.partner import NodePartner
from hybridtrain.run.progress import tell
from hybridtrain.training import train_here
from hybridtrain.transport.zeromq import ZeroMQLink
from hybridtrain.version import __version__

logger = logging.getLogger(__name__)
_FAILED, _BY_SIGTERM = 1, 143
_COMES_SECONDS = 30.0  # for which one that was killed looks for the driver: it has listened before


def main(words: list[str]) -> None:
    """Be the node that the words describe.

    Parameters
    ----------
    words : list of str
        "name=value": "parent", the process that has started this one; "name" and "incarnation"
        of this node; "handed": descriptor and sizes of the arguments of `train`. A node of the
        driver's own machine has "job", "driver", "address": what the driver's link is called and
        where it is. Another has the words of `joined`.
    """
    named = dict(word.split("=", 1) for word in words)
    adopt(int(named["parent"]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver alone ends a run
    if "driver" not in named:
        sys.exit(_joined(named))
    handed = _handed(named)
    gc.freeze()  # what was imported: collections during steps need not visit it
    job, incarnation = bytes.fromhex(named["job"]), int(named["incarnation"])
    link = ZeroMQLink(job=job, incarnation=incarnation, limits=LIMITS)
    driver = int(named["driver"])
    link.connect(driver, named["address"])
    told = {"name": named["name"], "version": __version__, "timeout": handed["timeout"]}
    if handed["checkpoint"] is None:
        partner = NodePartner(link, driver, **told)
    else:
        partner = ChildPartner(link, driver, **told, parent=int(named["parent"]))
    with contextlib.suppress(HybridTrainError, OSError):  # the driver raises it
        take_part(partner, train_here, lambda: handed)


def _joined(named: Mapping[str, str]) -> int:
    """Join a driver, train, and return the exit code; what goes wrong is said.

    The words are "join", the address of the driver; or "listen", the address where one is waited
    for; "address", where the others reach this node; "token_file", "insecure", "wait" of `Nodes`;
    "workers", instead of the driver's; "outcome", the file for what the run ends with; "why", the
    descriptor of a file for what goes wrong; "comes", of one that was killed and comes again.
    """
    try:
        content = _take_part(named)
    except (HybridTrainError, OSError) as error:
        tell(f"hybridtrain: node {named['name']}: {error}")
        if "why" in named:
            os.write(int(named["why"]), str(error).encode("utf-8", "backslashreplace"))
        return _FAILED
    except Interrupted:
        return _BY_SIGTERM
    if "outcome" in named:
        Path(named["outcome"]).write_bytes(content)
    return 0


def _take_part(named: Mapping[str, str]) -> bytes:
    wait = min(float(named["wait"]), _COMES_SECONDS if "comes" in named else math.inf)
    keys = Keys.of(named.get("token_file"), insecure="insecure" in named)
    if "join" in named:
        driver_at = await_host(named["join"], wait)
        given = named.get("address")
        own = numeric(given, any_port=True) if given else route_to(driver_at)
    else:
        driver_at, own = "", numeric(named["listen"])
    link = keys.link(own, int(named["incarnation"]))
    try:
        driver_at = driver_at or await_invitation(link, wait)
        driver, call = join(link, driver_at, named["name"], __version__, wait)
    except BaseException:
        link.close()
        raise
    on_line = logger.info if "handed" in named else _say  # a rank of a launcher prints nothing
    partner = JoinedPartner(
        link, driver, name=call.name, version=__version__, timeout=call.timeout, on_line=on_line
    )
    signal.signal(signal.SIGTERM, lambda *_: partner.leave())
    partner.serve()

    def arguments() -> dict[str, Any]:
        brought = _handed(named) if "handed" in named else {}
        if call.arguments is None and brought:
            return brought
        if call.arguments is None:
            raise InvalidSettingError(
                f'the driver at {driver_at} was started with nodes="env": start this node by the '
                "same launcher"
            )
        workers = {"workers": int(named["workers"])} if "workers" in named else {}
        return from_text(call.arguments, partner.init) | brought | workers

    return take_part(partner, train_here, arguments)


def _handed(named: Mapping[str, str]) -> dict[str, Any]:
    fd, *sizes = map(int, named["handed"].split(":"))
    arguments: dict[str, Any] = taken(fd, sizes)
    if "comes" in named:
        arguments["resume"] = False  # its state comes from the others
    return arguments


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads it
        print(text, flush=True)
