"""Load tables as they are and standardised: spambase, letter, housing, covtype; and 20 classes.

Rows are split at random, a fifth to test. A name that ends in ", standardised" has columns of
mean 0 and deviation 1. The loss is in the name of no set: it follows from the targets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from bench import data
from bench.data import Dataset

Numbers = np.ndarray
STANDARDISED = ", standardised"


def _spambase() -> tuple[Numbers, Numbers]:
    import pandas as pd  # noqa: PLC0415 - only here

    frame = pd.read_csv(data.real("spambase", "spambase.data.xz") / "spambase.data.xz")
    return frame.iloc[:, :-1].to_numpy(np.float64), frame.iloc[:, -1].to_numpy()


def _letter() -> tuple[Numbers, Numbers]:
    import pandas as pd  # noqa: PLC0415 - only here

    frame = pd.read_csv(data.real("letter", "letter.data.xz") / "letter.data.xz")
    return frame.iloc[:, 1:].to_numpy(np.float64), frame.iloc[:, 0].to_numpy(str)


def _housing() -> tuple[Numbers, Numbers]:
    import pandas as pd  # noqa: PLC0415 - only here

    frame = pd.read_csv(data.real("housing", "housing.csv.xz") / "housing.csv.xz").dropna()
    y = frame.pop("median_house_value").to_numpy(np.float64)
    near = pd.get_dummies(frame.pop("ocean_proximity"), dtype=float)
    # The file ends with a stray quote, for which a column of numbers is read as text.
    return pd.concat([frame.astype(float), near], axis=1).to_numpy(), y


def _covtype() -> tuple[Numbers, Numbers]:
    import pandas as pd  # noqa: PLC0415 - only here

    folder = data.real("covtype_10k", "covtype_small.csv.xz")
    frame = pd.read_csv(folder / "covtype_small.csv.xz")
    return frame.iloc[:, :-1].to_numpy(np.float64), frame.Cover_Type.to_numpy()


_TABLES: dict[str, Callable[[], tuple[Numbers, Numbers]]] = {
    "spambase": _spambase,
    "letter": _letter,
    "housing": _housing,
    "covtype": _covtype,
}


def _tiny(name: str) -> tuple[Numbers, Numbers]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 8)) * 10.0 ** np.arange(-2, 6) + 100.0
    margins = (X - 100.0) @ (1.0 / 10.0 ** np.arange(-2, 6))
    return X, margins if name == "housing" else np.digitize(margins, [-2.0, 0.0, 2.0])


@lru_cache(maxsize=2)
def load(name: str) -> Dataset:
    """Return a data set, or skip the test that asks and say what to set."""
    table = name.removesuffix(STANDARDISED)
    if table not in _TABLES:
        return data.twenty_classes() if name == "20newsgroups, 20 classes" else data.load(name)
    X, y = _tiny(table) if data.TINY else _TABLES[table]()
    is_test = np.zeros(len(y), np.bool_)
    is_test[np.random.default_rng(0).permutation(len(y))[: len(y) // 5]] = True
    if name.endswith(STANDARDISED):
        deviation = X[~is_test].std(axis=0)
        X = (X - X[~is_test].mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return Dataset(name, X[~is_test], y[~is_test], X[is_test], y[is_test])
