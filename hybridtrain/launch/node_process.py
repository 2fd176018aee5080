# SPDX-License-Identifier: BSD-3-Clause
"""The main of a node's process on this machine; `LocalNode` of nodes/local.py writes its words."""

from __future__ import annotations

import json
import signal
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hybridtrain._core.attached import adopt
from hybridtrain.errors import (
    DivergedError,
    HybridTrainError,
    NodesLostError,
    TrainingInterrupted,
    WorkersDiedError,
)
from hybridtrain.nodes.local import taken
from hybridtrain.nodes.loop import LIMITS
from hybridtrain.nodes.partner import NodePartner
from hybridtrain.run.result import Result
from hybridtrain.training import train_here
from hybridtrain.transport.zeromq import ZeroMQLink
from hybridtrain.version import __version__


def main(words: list[str]) -> None:
    """Be the node that the words describe.

    Parameters
    ----------
    words : list of str
        "name=value": "parent", the process that has started this one; "name" and "incarnation"
        of this node; "job", "driver", "address": what the driver's link is called and where it
        is; "handed": descriptor and sizes of the arguments of `train`.
    """
    named = dict(word.split("=", 1) for word in words)
    adopt(int(named["parent"]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fd, *sizes = map(int, named["handed"].split(":"))
    arguments = taken(fd, sizes)
    if "comes" in named and arguments["checkpoint"] is not None:
        arguments["resume"] = True  # the folder has checkpoints; the state comes from the others
    incarnation, driver = int(named["incarnation"]), int(named["driver"])
    link = ZeroMQLink(job=bytes.fromhex(named["job"]), incarnation=incarnation, limits=LIMITS)
    link.connect(driver, named["address"])
    partner = NodePartner(
        link, driver, name=named["name"], version=__version__, timeout=arguments["timeout"]
    )
    try:
        _train(partner, arguments)
    except NodesLostError:
        pass  # the driver knows
    except WorkersDiedError as error:
        if not partner.is_lost:
            partner.fail(error)
    except (HybridTrainError, OSError) as error:  # the driver raises it
        partner.fail(error)
    except BaseException as error:
        partner.fail(error)
        raise
    finally:
        partner.close()


def _train(partner: NodePartner, arguments: dict[str, Any]) -> None:
    """Train a node's part, and let the driver have what all have ended with."""
    error = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the driver shows those of the result
        try:
            result = train_here(
                **arguments, callbacks=[partner.tell], progress=False, partner=partner
            )
        except DivergedError as diverged:
            result = diverged.result
            more = {"epoch": diverged.epoch, "lr": diverged.lr, "what": diverged.what}
            error = {"error": "DivergedError", "text": str(diverged), "more": more}
        except TrainingInterrupted as interrupted:
            result = interrupted.result
            error = {"error": "TrainingInterrupted", "text": str(interrupted), "more": {}}
    partner.finish(json.dumps(error).encode() + b"\n" + _bytes_of(result), _parameters(result))


def _bytes_of(result: Result) -> bytes:
    with TemporaryDirectory(prefix="hybridtrain-") as folder:
        path = Path(folder) / "result.npz"
        result.save(path)
        return path.read_bytes()


def _parameters(result: Result) -> bytes:
    params = result.params
    return b"".join(np.asarray(params[name]).tobytes() for name in ("coef", "intercept"))
