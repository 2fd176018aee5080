# SPDX-License-Identifier: BSD-3-Clause
"""Every argument with values of every kind: our own error that names it, or a sound run."""

from __future__ import annotations

import copy
import decimal
import fractions
import functools
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest

import hybridtrain as ht
from hybridtrain.optimizers.parse import OPTIMIZERS
from hybridtrain.sklearn import LinearClassifier, LinearRegressor

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
Y = X[:, 0] > 0
BASE: dict[str, Any] = {"epochs": 2, "workers": 1, "progress": False}


class _Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


class _Incomparable:
    __hash__ = None  # type: ignore[assignment]  # what unhashable objects have

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")


VALUES: list[Any] = [
    None,
    True,
    0,
    1,
    -1,
    7,
    2**40,
    2**64,
    -(10**400),
    10**400,
    10**5000,
    0.5,
    -0.5,
    1.0,
    2.0,
    1e-60,
    1e-320,
    1e300,
    3e38,
    float("nan"),
    float("inf"),
    -float("inf"),
    "",
    "1",
    "auto",
    "nonsense",
    "sgd(lr=1)",
    b"x",
    1j,
    [],
    [1],
    (1, 2),
    {},
    {"a": 1},
    {0: 1},
    set(),
    np.float32(0.25),
    np.float64("nan"),
    np.int64(3),
    np.bool_(True),
    np.str_("auto"),
    np.longdouble(1),
    np.datetime64("2020-01-01"),
    np.array(3),
    np.array([1, 2]),
    np.array(["a"]),
    pd.Series([1, 2]),
    pd.NA,
    pd.NaT,
    decimal.Decimal("0.1"),
    fractions.Fraction(1, 2),
    range(3),
    print,
    int,
    object(),
    _Unshowable(),
    _Incomparable(),
    ht.SGD(),
    ht.Sync(),
    ht.Linear(),
    ht.Constant(),
]


class _Schedule:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def factor(self, epochs: float, total: float) -> Any:
        del epochs, total
        return self._answer


def _train(model: Any = None, y: Any = Y, **settings: Any) -> Any:
    return ht.train(ht.Linear() if model is None else model, (X, y), **BASE | settings)


def _compare(**settings: Any) -> None:
    ht.compare(ht.Linear(), (X, Y), **BASE | {"strategies": ["sync"], "repeats": 1} | settings)


def _by_optimizer(maker: Any, name: str, value: Any, strategy: str) -> Any:
    model = ht.Linear(l1=1e-3, l2=1e-3)
    return _train(model, optimizer=maker(**{name: value}), strategy=strategy)


def _by_schedule(schedule: Any) -> Any:
    return _train(optimizer=ht.SGD(schedule=schedule))


def _of_train(name: str) -> Callable[[Any], Any]:
    extra = {"validation": 0.2} if name == "patience" else {}
    return lambda value: [
        _train(strategy="sync", **extra, **{name: value}) if name != "strategy" else None,
        _train(**extra, **{name: value}),
    ][1]


@functools.cache
def _fitted() -> LinearClassifier:
    return LinearClassifier(epochs=1, workers=1).fit(X, Y)


def _of_classifier(name: str) -> Callable[[Any], Any]:
    extra = {"patience": 1} if name == "validation_fraction" else {}

    def use(value: Any) -> None:
        settings = BASE.copy() | extra | {name: value}
        del settings["progress"]
        fitted = copy.deepcopy(_fitted())
        assert set(fitted.set_params(**{name: value}).predict(X)) <= {False, True}
        LinearClassifier(**settings).fit(X, Y)
        if hasattr(LinearClassifier(**settings), "partial_fit"):
            LinearClassifier(**settings).partial_fit(X, Y, classes=[False, True])

    return use


def _of_regressor(name: str) -> Callable[[Any], Any]:
    extra = {"loss": "huber"} if name == "delta" else {}
    settings = {"epochs": 2, "workers": 1, "strategy": "sync"}
    return lambda value: LinearRegressor(**settings | extra | {name: value}).fit(X, X[:, 0])


def _uses() -> Iterator[tuple[str, str, Callable[[Any], Any]]]:
    """Yield where an argument is used, the word that its errors hold, and the use."""
    of_train = "strategy optimizer workers epochs batch_size seed init validation patience"
    for name in (*of_train.split(), "callbacks", "progress"):
        yield f"train {name}", name, _of_train(name)
    yield "train seconds", "seconds", lambda v: _train(seconds=v, epochs=1)
    yield "train model", "model", lambda v: ht.train(v, (X, Y), **BASE)
    yield "train data", "", lambda v: ht.train(ht.Linear(), v, **BASE)
    for name in ("loss", "l1", "l2", "fit_intercept", "class_weight", "delta"):
        yield f"Linear {name}", name, lambda v, name=name: _train(ht.Linear(**{name: v}))  # type: ignore[misc]
    yield "huber", "delta", lambda v: _train(ht.Linear(loss="huber", delta=v), y=X[:, 0])
    for strategy in ("hybrid", "sync"):
        for optimizer, maker in OPTIMIZERS.items():
            for name in (field.name for field in fields(maker)):
                yield (
                    f"{optimizer} {name} {strategy}",
                    name,
                    lambda v, m=maker, n=name, s=strategy: _by_optimizer(m, n, v, s),  # type: ignore[misc]
                )
        yield (
            f"factor {strategy}",
            "",  # a rate of 3e38 is named by the rate
            lambda v, s=strategy: _by_optimizer(ht.SGD, "schedule", _Schedule(v), s),  # type: ignore[misc]
        )
    for word, make in (
        ("power", lambda v: ht.InverseScaling(power=v)),
        ("epochs", lambda v: ht.InverseScaling(epochs=v)),
        ("decay", lambda v: ht.Exponential(decay=v)),
        ("epochs", lambda v: ht.Warmup(epochs=v)),
        ("schedule", lambda v: ht.Warmup(epochs=0.5, then=v)),
    ):
        yield (
            f"schedule {word}",
            word,
            lambda v, m=make: _by_optimizer(ht.SGD, "schedule", m(v), "hybrid"),
        )  # type: ignore[misc]
    for word, make_strategy in (
        ("hot", lambda v: ht.Hybrid(hot=v)),
        ("every", lambda v: ht.Hybrid(every=v)),
        ("exact", lambda v: ht.Hogwild(exact=v)),
        ("exact", lambda v: ht.Sync(exact=v)),
    ):
        yield f"strategy {word}", word, lambda v, m=make_strategy: _train(strategy=m(v), workers=2)  # type: ignore[misc]
    of_compare = (
        "strategies workers epochs validation optimizer batch_size seed seeds baseline progress"
    )
    for name in of_compare.split():
        yield f"compare {name}", name[:7], lambda v, n=name: _compare(**{n: v})  # type: ignore[misc]
    yield "compare strategy", "strateg", lambda v: _compare(strategies=[v])
    for name in LinearClassifier().get_params():
        yield f"classifier {name}", name, _of_classifier(name)
    for name in ("loss", "delta", "l1", "workers", "random_state", "warm_start", "lr"):
        yield f"regressor {name}", name, _of_regressor(name)
    for name in ("coef", "intercept"):
        start = {"coef": np.zeros(4)}
        yield f"init {name}", name, lambda v, n=name, s=start: _train(init=s | {n: v})  # type: ignore[misc]
    yield "init classes", "class", lambda v: _train(init={"coef": np.zeros(4), "classes": v})


USES = list(_uses())
OURS = (ht.InvalidSettingError, ht.InvalidDataError, ht.DivergedError)


@pytest.mark.parametrize(("where", "word", "use"), USES, ids=[use[0] for use in USES])
@pytest.mark.filterwarnings("ignore")
def test_an_argument_is_refused_by_name_or_makes_a_sound_run(
    where: str, word: str, use: Callable[[Any], Any], tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)  # words may be read as names of files
    for value in VALUES:
        if "epochs" in where and isinstance(value, int) and value > 100:
            continue  # it would be trained
        text, result = _outcome(use, value)
        if text:
            assert word in text, (where, type(value))
            assert len(text) < 600
        elif isinstance(result, ht.Result):
            assert np.isfinite(result.params["coef"]).all()
            assert np.isfinite(result.params["intercept"]).all()
            assert np.isfinite([record.loss for record in result.history]).all()


def _outcome(use: Callable[[Any], Any], value: Any) -> tuple[str, Any]:
    """Return what our own error says, or what comes of a use; other errors are passed on."""
    try:
        return "", use(value)
    except OURS as error:
        return str(error), None
    except FileNotFoundError:
        if isinstance(value, str):  # validation and data
            return "", None
        raise


@pytest.mark.parametrize("value", [0, -1, 0.5, True, "1", -(10**400), float("nan"), [1]])
def test_repeats_is_a_positive_int(value: Any) -> None:
    with pytest.raises(ht.InvalidSettingError, match="repeats must be"):
        _compare(repeats=value)


def test_repeats_may_be_the_largest_of_its_type() -> None:
    def begin(_: object, what: str) -> None:
        if what.startswith("run 2"):
            raise RuntimeError(what)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hybridtrain.comparison.announcer.Announcer.begin", begin)
        with pytest.raises(RuntimeError, match="run 2 of 18446744073709551615"):
            _compare(repeats=np.uint64(2**64 - 1))


@pytest.mark.parametrize("value", [r"'\c'", "[" * 150 + "]" * 150, "-" * 380 + "1", "(" * 390])
def test_literals_that_python_warns_of_or_cannot_parse_are_refused(value: str) -> None:
    with pytest.raises(
        ht.InvalidSettingError, match=r"optimizer must be|'sgd\(lr=.*: lr (is|must)"
    ):
        _train(optimizer=f"sgd(lr={value})")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ht.Linear(l2=1e300), "l2 must be at most 1e+30, got 1e+300"),
        (lambda: ht.Linear(l1=10**400), "l1 must be finite and >= 0, got 1000"),
        (lambda: ht.Hybrid(every=2**40), "at most 4294967295, got 1099511627776"),
        (lambda: ht.Hybrid(hot=2**40), 'hot must be "auto", a number of features'),
        (lambda: ht.FTRL(beta=1e-60), "beta must be in 1e-30 .. 1e+30, got 1e-60"),
        (lambda: ht.SGD(momentum=1 - 1e-12), "momentum must be a number in 0 .. 1, 1 excluded"),
        (lambda: ht.Adam(beta2=1 - 1e-12), "beta2 must be a number in 0 .. 1, 1 excluded"),
        (lambda: _train(optimizer=ht.SGD(lr=1e-60)), "a learning rate must be above 0"),
        (lambda: _train(optimizer=ht.SGD(lr=1e300)), "learning rates must be in 0 .. 3.4e+38"),
        (lambda: _train(seed=2**64), "seed must be at most 18446744073709551615, got 1844"),
        (lambda: _train(progress="yes"), "progress must be True or False, got 'yes'"),
        (lambda: _compare(baseline=1), "baseline must be True or False, got 1"),
        (
            lambda: _train(optimizer=ht.SGD(schedule=_Schedule(None))),
            "schedule must have factors that are numbers, got None",
        ),
        (
            lambda: _train(validation=(X[:, :3], Y)),
            "validation: X must have 4 features",
        ),
        (lambda: _train(validation=(X, Y[1:])), "validation: y must be one-dimensional"),
        (
            lambda: LinearClassifier(random_state=-1).fit(X, Y),
            "random_state must be >= 0, got -1",
        ),
        (
            lambda: LinearClassifier(random_state="a").fit(X, Y),
            "random_state must be an int >= 0, a RandomState or None, got 'a'",
        ),
        (
            lambda: LinearClassifier(warm_start=1).fit(X, Y),
            "warm_start must be True or False, got 1",
        ),
        (
            lambda: LinearRegressor(verbose="loud").fit(X, X[:, 0]),
            "verbose must be True or False, got 'loud'",
        ),
    ],
)
def test_what_float32_or_the_core_cannot_hold_is_refused(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises((ht.InvalidSettingError, ht.InvalidDataError)) as caught:
        make()
    assert message in str(caught.value)
