# SPDX-License-Identifier: BSD-3-Clause
"""What a node's run ends with: it is told to the driver, and read by whoever asked for the run."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hybridtrain import errors
from hybridtrain.errors import (
    DivergedError,
    HybridTrainError,
    NodesLostError,
    TrainingInterrupted,
)
from hybridtrain.nodes.partner import NodePartner
from hybridtrain.nodes.starts import result_from_bytes, result_to_bytes
from hybridtrain.notices import warn_user
from hybridtrain.observe.records import NodeReport
from hybridtrain.run.result import Result


def take_part(
    partner: NodePartner, train: Callable[..., Result], arguments: Callable[[], Mapping[str, Any]]
) -> bytes:
    """Train a node's part, and tell the driver how it ends; close the partner.

    Parameters
    ----------
    partner : NodePartner
    train : function
        `train_here` of training.py.
    arguments : function
        Returns its arguments; what it raises is told to the driver as well.

    Returns
    -------
    bytes
        For `result_of`: what all nodes have ended with.

    Raises
    ------
    NodesLostError
        When the run has ended for this node.
    HybridTrainError, OSError
        What `train_here` raises.
    """
    try:
        content, parameters = _trained(partner, train, arguments())
        partner.finish(content, parameters)
    except NodesLostError:
        raise  # the driver knows
    except BaseException as error:
        partner.fail(error)
        raise
    finally:
        partner.close()
    return content


def _trained(
    partner: NodePartner, train: Callable[..., Result], arguments: Mapping[str, Any]
) -> tuple[bytes, bytes]:
    """Return the content that the driver gets, and the parameters."""
    error = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the driver shows those of the result
        try:
            result = train(**arguments, callbacks=[partner.tell], progress=False, partner=partner)
        except DivergedError as diverged:
            result = diverged.result
            more = {"epoch": diverged.epoch, "lr": diverged.lr, "what": diverged.what}
            error = {"error": "DivergedError", "text": str(diverged), "more": more}
        except TrainingInterrupted as interrupted:
            result = interrupted.result
            error = {"error": "TrainingInterrupted", "text": str(interrupted), "more": {}}
    params = (np.asarray(result.params[name]).tobytes() for name in ("coef", "intercept"))
    return json.dumps(error).encode() + b"\n" + result_to_bytes(result), b"".join(params)


def result_of(
    content: bytes, nodes: tuple[NodeReport, ...] = (), lines: Sequence[str] = ()
) -> Result:
    """Return the result that nodes have ended with.

    Parameters
    ----------
    content : bytes
        Of `take_part`.
    nodes : tuple of NodeReport
    lines : sequence of str
        What users were told of the nodes.

    Raises
    ------
    Exception
        What `train` raises, as a node has raised it.
    """
    head, _, saved = content.partition(b"\n")
    result = replace(result_from_bytes(saved), nodes=nodes)
    result.settings["nodes"] = {"lines": list(lines)}
    warn_user(result.settings["warnings"])
    error = json.loads(head)
    if error is not None:
        raise error_of(error["error"], error["text"], result=result, **error["more"])
    return result


def error_of(name: str, text: str, **more: Any) -> BaseException:
    """Return the error that a node has named, of this package or of Python."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, HybridTrainError | TrainingInterrupted):
        with contextlib.suppress(TypeError):  # it needs what the node did not send
            return kind(text, **more)
    if name in ("FileNotFoundError", "PermissionError", "IsADirectoryError", "OSError"):
        return OSError(text)
    return NodesLostError(f"a node could not go on: {name}: {text}")
