# SPDX-License-Identifier: BSD-3-Clause
"""The main of a worker process that was executed.

    the training process                    a worker process
    --------------------                    ----------------
    opens the run            segment   -->  maps it, and finds its parts by the record
    writes the rows, once    rows      -->  maps them, read-only
    executes a worker        words     -->  parses them, and works until it is called away

Segment and rows are descriptors that the worker inherits; `Executed` of starters.py writes the
words that `main` reads. The process imports handles on the core and no NumPy: it starts soon.
"""

from __future__ import annotations

from hybridtrain._core.attached import Mapping, adopt, work
from hybridtrain._core.rows import Rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMS = {
    "pointers": "q",
    "indices": "i",
    "values": "f",
    "targets": "f",
    "weights": "f",
    "hot": "i",
    "reach": "f",
}


def main(words: list[str]) -> None:
    """Be the worker that the words describe; the process ends here.

    Parameters
    ----------
    words : list of str
        "name=value": "parent", the process that has started this one; "segment", a descriptor;
        "worker", a number; "loss", "loss_parameter", "n_classes", the model; "n_features",
        "n_hot", "mapped" and, for each array of `FORMS` that there is, "descriptor:offset:bytes".

    Raises
    ------
    ValueError
        When words, segment and rows do not fit each other.
    """
    named = dict(word.split("=", 1) for word in words)
    adopt(int(named["parent"]))
    arrays: dict[str, Any] = {
        name: _array(named[name], form) if name in named else None for name, form in FORMS.items()
    }
    n_features, n_hot = int(named["n_features"]), int(named["n_hot"])
    rows = Rows(n_features, **arrays, n_hot=n_hot, mapped=named["mapped"] == "True")
    work(
        int(named["segment"]),
        rows,
        worker=int(named["worker"]),
        loss=int(named["loss"]),
        loss_parameter=float.fromhex(named["loss_parameter"]),
        n_classes=int(named["n_classes"]),
    )


def _array(place: str, form: Any) -> Any:
    fd, offset, nbytes = map(int, place.split(":"))
    return memoryview(Mapping(fd, offset, nbytes) if nbytes else b"").cast(form)
