# SPDX-License-Identifier: BSD-3-Clause
"""Settings: every argument of train, compare, models, optimizers, schedules and strategies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.contract import Allowed, building, check_model
from fuzz.draw import Draw, dense_rows, sparse_rows, two_classes

import hybridtrain as ht
from hybridtrain.optimizers.parse import OPTIMIZERS

_NUMBERS = (
    *(0, 1, 2, 3, -1, 7, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, 10**30, 10**400),
    *(0.0, 0.5, 1.0, -0.5, 1e-3, 1e-45, 1e-320, 1e30, 1e39, 1e308, -1e308),
    *(math.nan, math.inf, -math.inf, True, False),
    *(np.int8(3), np.uint64(2**64 - 1), np.float16(0.5), np.float32(2), np.float64(0.1)),
    *(np.bool_(True), np.longdouble(1), np.complex128(1), np.array(2), np.array([2])),
)
_OTHERS: tuple[Any, ...] = (
    *(None, "", "auto", "x", "1", b"auto", "\0", "\ud800", "é" * 3000, [], (), {}, {1: 2}, [1]),
    *(object(), 1j, int, len, range(3), np.datetime64("NaT"), np.timedelta64(1, "s"), np.str_("1")),
)
_SMALL = (1, 2, 3, 0.5, 0.1, 0.01, True, False, "auto")
_NAMES = (*OPTIMIZERS, "hybrid", "hogwild", "sync", "linear", "cosine")
_FIELDS = (
    *(field.name for optimizer in OPTIMIZERS.values() for field in fields(optimizer)),
    *("hot", "every", "exact"),
    *("name", "kind", "__class__", "self", "LR", "lr "),
)
_LITERALS = (
    *("1", "0.1", "-1", "--1", "---1", "+1", "~1", "1e400", "-1e400", "1_0", "0x10", "1j", "True"),
    *("None", "'linear'", '"cosine"', "'x'", "[]", "[1,2]", "{}", "{1:2}", "()", "...", "b'x'"),
    *("1+1", "1/0", "2**99", "9" * 5000, "-'x'", "not 1", "lambda: 1", "f()", "x.y", "*a", "1,"),
    *(
        "'" + "x" * 3000 + "'",
        "[" * 150 + "]" * 150,
        "-" * 3000 + "1",
        "{**1}",
        "{[]: 1}",
        "1 if 1",
    ),
)


def hostile(draw: Draw) -> Any:
    """Return any value at all."""
    return draw.one(_NUMBERS) if draw.chance(0.7) else draw.one(_OTHERS)


def call_text(draw: Draw) -> str:
    """Return "name(key=value)", or what looks like it."""
    text = draw.one(_NAMES)
    if draw.chance(0.9):
        parts = [f"{draw.one(_FIELDS)}={draw.one(_LITERALS)}" for _ in range(draw.randint(0, 2))]
        text += f"({', '.join(parts)})"
    if draw.chance(0.4):
        at = draw.below(len(text) + 1)
        wrong = draw.one(["(", ")", "=", "\0", "\n", "#", "'", "\\", "💥", " ", ";", "*", "é", ","])
        text = text[:at] + wrong + text[at + draw.below(2) :]
    return text


def _some(draw: Draw, names: list[str]) -> dict[str, Any]:
    chosen = draw.sample(names, min(len(names), draw.randint(1, 2)))
    return {name: draw.one(_SMALL) if draw.chance(0.4) else hostile(draw) for name in chosen}


def schedule(draw: Draw) -> Any:
    """Return a schedule, sound or not."""
    if draw.chance(0.3):
        return draw.one(["linear", "constant", "cosine", "inverse_scaling", "exponential", "none"])
    if draw.chance(0.3):
        return _Schedule(draw.one([*_NUMBERS, "x", None]))
    makers: list[tuple[Any, list[str]]] = [
        (ht.Constant, []),
        (ht.InverseScaling, ["power", "epochs"]),
        (ht.Exponential, ["decay"]),
        (ht.Warmup, ["epochs", "then"]),
    ]
    make, names = draw.one(makers)
    arguments = _some(draw, names) if names else {}
    if make is ht.Warmup:
        arguments.setdefault("epochs", 0.5)
    return make(**arguments)


class _Schedule:
    """A schedule of the user's whose factor may be anything."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def factor(self, epochs: float, total: float) -> Any:
        """Return the value."""
        return self.value


def optimizer(draw: Draw) -> Any:
    """Return an optimizer, sound or not."""
    if draw.chance(0.5):
        return call_text(draw)
    make: Any = draw.one(list(OPTIMIZERS.values()))
    names = [field.name for field in fields(make)]
    arguments = _some(draw, names)
    if "schedule" in names and draw.chance(0.5):
        arguments["schedule"] = schedule(draw)
    return make(**arguments)


def strategy(draw: Draw) -> Any:
    """Return a strategy, sound or not."""
    if draw.chance(0.5):
        return call_text(draw)
    makers: list[tuple[Any, list[str]]] = [
        (ht.Hybrid, ["hot", "every"]),
        (ht.Hogwild, ["exact"]),
        (ht.Sync, ["exact"]),
    ]
    make, names = draw.one(makers)
    return make(**_some(draw, names))


def model(draw: Draw) -> Any:
    """Return a model, sound or not."""
    names = ["loss", "l1", "l2", "fit_intercept", "class_weight", "delta"]
    arguments = _some(draw, names)
    if draw.chance(0.7):
        losses = ["logistic", "hinge", "squared_hinge", "softmax", "squared", "huber"]
        arguments["loss"] = draw.one(losses)
    return ht.Linear(**arguments)


def _init(draw: Draw, n_features: int) -> Any:
    """Return parameters to start from, sound or not."""
    n_classes = draw.one([0, 0, 2, 3])
    shape = (n_classes, n_features) if n_classes else (n_features,)
    start: dict[str, Any] = {"coef": draw.numbers.standard_normal(shape), "intercept": 0.0}
    if n_classes:
        start["intercept"] = np.zeros(n_classes)
    classes = [[0, 1], [1, 0], [0, 0], [0, 1, 2], ["a", "b"], [0], [], None, 3, [[0, 1]], [0, None]]
    if draw.chance(0.5):
        start["classes"] = draw.one([*classes, [math.nan, 1], [1.0, 0.0], np.arange(5000), "01"])
    if draw.chance(0.6):
        name = draw.one(["coef", "intercept", "classes"])
        start[name] = draw.one([hostile(draw), np.full(shape, draw.one(_NUMBERS[:24])), [[1], 2]])
    if draw.chance(0.2):
        del start[draw.one(list(start))]
    if draw.chance(0.15):
        return _other_result(draw, n_features)
    return draw.one([start, start, start, hostile(draw)])


def _other_result(draw: Draw, n_features: int) -> ht.Result:
    """Return a model of another loss, of other classes or of another number of features."""
    X = np.eye(6, max(n_features + draw.one([0, 0, 1, -1]), 1), dtype=np.float32)
    loss: Any = draw.one(["logistic", "softmax", "squared", "hinge"])
    labels: Any = draw.one([[0, 1], [1, 2], ["a", "b"], [False, True], [0.0, 1.0], [1, 0]])
    if loss == "softmax" and draw.chance(0.5):
        labels = [0, 1, 2]
    y = np.arange(6.0) if loss == "squared" else np.array(labels)[np.arange(6) % len(labels)]
    arguments = {"workers": 1, "epochs": 1, "strategy": "sync", "progress": False}
    return ht.train(ht.Linear(loss=loss), (X, y), **arguments)


def _raises(record: Any) -> Any:
    raise ht.InvalidSettingError("a callback ends the run")


def _arguments(draw: Draw, n_features: int) -> dict[str, Any]:
    """Return arguments of train: most are sound, one or two are not."""
    arguments: dict[str, Any] = {"workers": 1, "epochs": 2, "progress": False}
    others: dict[str, Callable[[], Any]] = {
        "workers": lambda: draw.one([0, -1, 1.0, True, 3, 9, 10**30, 2**64, "2", np.int8(2), None]),
        "epochs": lambda: (
            draw.one([0, -1, 1.0, True, "2", np.uint8(3), None, 2**63, 10**30])
            if draw.chance(0.5)
            else 3
        ),
        "batch_size": lambda: hostile(draw),
        "seed": lambda: hostile(draw),
        "init": lambda: _init(draw, n_features),
        "validation": lambda: draw.one([hostile(draw), 0.5, 0.01, 0.99]),
        "seconds": lambda: draw.one([0.05, 0.2, 1e-9, 1e-320, 0, -1, math.nan, "1", True, [1]]),
        "patience": lambda: hostile(draw),
        "callbacks": lambda: draw.one(
            [[lambda record: True], [_raises], [len], [None], None, "x", 3, (print,), {1: 2}, [[]]]
        ),
        "progress": lambda: hostile(draw),
        "optimizer": lambda: optimizer(draw),
        "strategy": lambda: strategy(draw),
        "nonsense": lambda: 1,
    }
    for name in draw.sample(list(others), draw.one([1, 1, 1, 2, 3])):
        arguments[name] = others[name]()
    too_long = arguments["epochs"] is None or arguments["epochs"] in (2**63, 10**30)
    if too_long and "seconds" not in arguments:
        arguments["seconds"] = 0.1
    if isinstance(arguments.get("callbacks"), list) and arguments["callbacks"] == [len]:
        del arguments["callbacks"]  # its TypeError is the caller's
    arguments.setdefault("strategy", draw.one(["sync", "hybrid", "hogwild"]))
    return arguments


def case(draw: Draw, place: Path) -> tuple[Callable[[], str], Allowed]:
    """Make settings, and train with them."""
    X = dense_rows(draw) if draw.chance(0.5) else sparse_rows(draw)
    y: Any = two_classes(draw, X.shape[0])
    what = draw.named(
        {
            "train": _train,
            "train again": _train,
            "compare": _compare,
            "model": _model,
            "optimizer": _optimizer,
            "strategy": _strategy,
        }
    )
    with building():
        return what(draw, X, y), Allowed(signature=True, missing_files=True)


def _trained(draw: Draw, X: Any, y: Any, arguments: dict[str, Any]) -> str:
    draw.note(", ".join(f"{name}={value!r}"[:80] for name, value in arguments.items()))
    chosen = arguments.pop("model", None) or ht.Linear()
    if not chosen.is_classifier:
        y = y * 2.5
    result = ht.train(chosen, (X, y), **arguments)
    check_model(result, X)
    return "sound"


def _train(draw: Draw, X: Any, y: Any) -> Callable[[], str]:
    return lambda: _trained(draw, X, y, _arguments(draw, X.shape[1]))


def _model(draw: Draw, X: Any, y: Any) -> Callable[[], str]:
    def run() -> str:
        settings = {"workers": 1, "epochs": 2, "strategy": "sync", "progress": False}
        return _trained(draw, X, y, {**settings, "model": model(draw)})

    return run


def _optimizer(draw: Draw, X: Any, y: Any) -> Callable[[], str]:
    def run() -> str:
        chosen = optimizer(draw)
        settings = {"workers": draw.randint(1, 3), "epochs": 2, "progress": False}
        how = draw.one(["sync", "hybrid", "hogwild"])
        return _trained(draw, X, y, {**settings, "strategy": how, "optimizer": chosen})

    return run


def _strategy(draw: Draw, X: Any, y: Any) -> Callable[[], str]:
    def run() -> str:
        settings = {"workers": draw.randint(1, 3), "epochs": 2, "progress": False}
        return _trained(draw, X, y, {**settings, "strategy": strategy(draw)})

    return run


def _compare(draw: Draw, X: Any, y: Any) -> Callable[[], str]:
    def run() -> str:
        arguments: dict[str, Any] = {"workers": 1, "epochs": 1, "repeats": 1, "progress": False}
        arguments["validation"] = draw.one([0.5, (X, y), hostile(draw)])
        strategies = [draw.one(["sync", "hybrid"]), strategy(draw)][: draw.randint(1, 2)]
        arguments["strategies"] = strategies
        name = draw.one(
            [
                "workers",
                "epochs",
                "strategies",
                "seed",
                "seeds",
                "repeats",
                "baseline",
                "batch_size",
            ]
        )
        value = hostile(draw)
        is_long = isinstance(value, int | np.integer) and value > 3  # is sound, and takes long
        if name not in ("epochs", "repeats", "workers") or not is_long:
            arguments[name] = value
        draw.note(", ".join(f"{name}={value!r}"[:80] for name, value in arguments.items()))
        found = ht.compare(ht.Linear(), (X, y), **arguments)
        for one in found.runs:
            if one.result is not None and not one.diverged:
                check_model(one.result)
        str(found)
        return "sound"

    return run
