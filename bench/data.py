"""Load the benchmarks' data: two generated sets and eight real ones.

HYBRIDTRAIN_BENCH_DATA is the folder that ``python -m bench.generate`` filled,
HYBRIDTRAIN_REAL_DATA one with the real sets, a folder each. With
HYBRIDTRAIN_BENCH_TINY=1 every set is a small generated one of the same shape.
"""

from __future__ import annotations

import gzip
import lzma
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from bench.generate import Floats, Parts, ctrl, rcv1l

DenseParts = tuple[Floats, Floats, Floats, Floats]
TINY = os.environ.get("HYBRIDTRAIN_BENCH_TINY", "") not in ("", "0")
_NYC_COLUMNS = ("month", "date", "hour", "carrier", "tailnum", "origin", "dest", "flight")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows to train on and rows to test on.

    y is -1 or 1; of mnist and covtype_10k, whose rows are dense, the number of the class.
    """

    name: str
    X: Any
    y: Floats
    X_test: Any
    y_test: Floats


def _folder(variable: str, name: str, probe: str, hint: str) -> Path:
    folder = os.environ.get(variable)
    if not folder or not (Path(folder) / probe).exists():
        pytest.skip(
            f"{name} needs {probe} in the folder that {variable} names ({hint}); "
            "HYBRIDTRAIN_BENCH_TINY=1 runs without"
        )
    return Path(folder)


def _tiny(name: str) -> DenseParts | Parts:
    if name in ("mnist", "covtype_10k"):
        rng = np.random.default_rng(0)
        X = rng.random((500, 54), np.float32)
        y = np.argmax(X[:, :5], axis=1).astype(np.float32)
        return X[:400], y[:400], X[400:], y[400:]
    if name in ("ctrl", "a9a", "kdd99", "nycflights13"):
        return ctrl(2_000, 500, d=3_000, fields=9)
    return rcv1l(2_000, 500, d=600, words=30)


def _generated(name: str) -> Parts:
    folder = _folder(
        "HYBRIDTRAIN_BENCH_DATA", name, f"{name}.dim", "python -m bench.generate FOLDER"
    )
    d = int((folder / f"{name}.dim").read_text())

    def part(which: str) -> tuple[sparse.csr_matrix, Floats]:
        def read(kind: str, dtype: type) -> np.ndarray:
            return np.fromfile(folder / f"{name}.{which}.{kind}.bin", dtype)

        pointers = read("ptr", np.int64).astype(np.int32)
        shape = (len(pointers) - 1, d)
        arrays = (read("val", np.float32), read("idx", np.int32), pointers)
        return sparse.csr_matrix(arrays, shape=shape), read("y", np.float32)

    return (*part("train"), *part("test"))


def real(name: str, file: str) -> Path:
    """Return the folder of a real set, or skip the test that asks."""
    return _folder("HYBRIDTRAIN_REAL_DATA", name, f"{name}/{file}", "the real sets") / name


def _svmlight(path: Path, n_features: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    from sklearn.datasets import load_svmlight_file  # noqa: PLC0415 - the peer is loaded late

    with lzma.open(path) as file:
        X, y = load_svmlight_file(file, n_features=n_features, dtype=np.float32)
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return X, y


def _signs(is_positive: np.ndarray) -> Floats:
    return np.where(is_positive, 1, -1).astype(np.float32)


def _words(folder: Path, stem: str, n_features: int) -> Parts:
    """Return word counts as sublinear tf-idf rows of length 1."""
    from sklearn.feature_extraction.text import TfidfTransformer  # noqa: PLC0415

    X, y = _svmlight(folder / f"{stem}_train.svm.xz", n_features)
    X_test, y_test = _svmlight(folder / f"{stem}_test.svm.xz", n_features)
    tfidf = TfidfTransformer(sublinear_tf=True).fit(X)
    X, X_test = (tfidf.transform(x).astype(np.float32) for x in (X, X_test))
    return X, y, X_test, y_test


def _against(positive: int, parts: Parts) -> Parts:
    """Return one class against the rest."""
    X, y, X_test, y_test = parts
    return X, _signs(y == positive), X_test, _signs(y_test == positive)


def _imdb() -> Parts:
    return _against(1, _words(real("imdb", "imdb_train.svm.xz"), "imdb", 74_851))


def _20newsgroups() -> Parts:
    """Class 0, alt.atheism, against the rest: 4 % of the rows."""
    return _against(0, _newsgroups())


def _newsgroups() -> Parts:
    return _words(real("20newsgroups", "20news_train.svm.xz"), "20news", 130_108)


def _a9a() -> Parts:
    folder = real("a9a", "a9a.svm.xz")
    X, y = _svmlight(folder / "a9a.svm.xz", 123)
    X_test, y_test = _svmlight(folder / "a9a.t.svm.xz", 123)
    return X, _signs(y > 0), X_test, _signs(y_test > 0)


def _rcv1_vw_small() -> Parts:
    folder = real("rcv1_vw_small", "rcv1_small.dat.xz")

    def part(file: str) -> tuple[sparse.csr_matrix, Floats]:
        labels, pairs, pointers = [], [], [0]
        with lzma.open(folder / file, "rt") as lines:
            for line in lines:
                label, *rest = line.split()
                labels.append(float(label))
                pairs += [word.split(":") for word in rest if ":" in word]
                pointers.append(len(pairs))
        indices = np.array([int(i) for i, _ in pairs], np.int32)
        values = np.array([float(v) for _, v in pairs], np.float32)
        X = sparse.csr_matrix((values, indices, pointers), shape=(len(labels), 47_153))
        return X, _signs(np.array(labels) > 0)

    return (*part("rcv1_small.dat.xz"), *part("rcv1_small_test.data.xz"))


def _nycflights13() -> Parts:
    """More than 15 minutes late; eight one-hot columns, values seen at least 5 times."""
    import pandas as pd  # noqa: PLC0415 - only here

    frame = pd.read_csv(real("nycflights13", "flights.csv.xz") / "flights.csv.xz")
    frame = frame[frame.arr_delay.notna()].reset_index(drop=True)
    frame["date"] = frame.month * 100 + frame.day
    n = len(frame)
    is_test = np.zeros(n, np.bool_)
    is_test[np.random.default_rng(0).permutation(n)[: n // 5]] = True
    columns, rows, width = [], [], 0
    for name in _NYC_COLUMNS:
        codes, values = pd.factorize(frame[name].astype(str))
        is_used = np.bincount(codes[~is_test], minlength=len(values)) >= 5
        number = np.where(is_used, np.cumsum(is_used) - 1 + width, -1)[codes]
        rows.append(np.flatnonzero(number >= 0))
        columns.append(number[number >= 0])
        width += int(is_used.sum())
    where = (np.concatenate(rows), np.concatenate(columns))
    X = sparse.csr_matrix((np.ones(len(where[0]), np.float32), where), shape=(n, width))
    y = _signs(frame.arr_delay.to_numpy() > 15)
    return X[~is_test], y[~is_test], X[is_test], y[is_test]


def _kdd99() -> Parts:
    """Attack or not; three one-hot columns, log(1 + x) over its largest value for the others."""
    import pandas as pd  # noqa: PLC0415 - only here

    folder = real("kdd99", "corrected.gz")
    files = (folder / "kddcup.data_10_percent.gz", folder / "corrected.gz")
    frames = [pd.read_csv(file, header=None) for file in files]
    n = len(frames[0])
    frame = pd.concat(frames, ignore_index=True)
    words = pd.get_dummies(frame[[1, 2, 3]].astype(str)).to_numpy(np.float32)
    numbers = np.log1p(frame.drop(columns=[1, 2, 3, 41]).to_numpy(np.float64))
    largest = numbers[:n].max(axis=0)
    numbers = (numbers / np.where(largest > 0, largest, 1)).astype(np.float32)
    X = sparse.csr_matrix(np.hstack([words, numbers]))
    y = _signs(frame[41].to_numpy() != "normal.")
    return X[:n], y[:n], X[n:], y[n:]


def _covtype_10k() -> DenseParts:
    """Seven kinds of wood; columns standardised, every fifth row of a random order to test."""
    import pandas as pd  # noqa: PLC0415 - only here

    folder = real("covtype_10k", "covtype_small.csv.xz")
    frame = pd.read_csv(folder / "covtype_small.csv.xz").sample(frac=1, random_state=0)
    X, y = frame.iloc[:, :-1].to_numpy(np.float64), frame.Cover_Type.to_numpy(np.float32)
    deviation = X.std(axis=0)
    X = ((X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1)).astype(np.float32)
    is_test = np.arange(len(y)) % 5 == 0
    return X[~is_test], y[~is_test], X[is_test], y[is_test]


def _mnist() -> DenseParts:
    folder = real("mnist", "train-images-idx3-ubyte.gz")

    def part(stem: str) -> tuple[Floats, Floats]:
        with gzip.open(folder / f"{stem}-images-idx3-ubyte.gz") as file:
            X = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
        with gzip.open(folder / f"{stem}-labels-idx1-ubyte.gz") as file:
            y = np.frombuffer(file.read(), np.uint8, offset=8)
        return X.astype(np.float32) / np.float32(255), y.astype(np.float32)

    return (*part("train"), *part("t10k"))


REAL: dict[str, Callable[[], DenseParts | Parts]] = {
    "imdb": _imdb,
    "20newsgroups": _20newsgroups,
    "a9a": _a9a,
    "nycflights13": _nycflights13,
    "rcv1_vw_small": _rcv1_vw_small,
    "kdd99": _kdd99,
    "covtype_10k": _covtype_10k,
    "mnist": _mnist,
}


@lru_cache(maxsize=1)
def load(name: str) -> Dataset:
    """Return a data set, or skip the test that asks and say what to set."""
    if TINY:
        return Dataset(name, *_tiny(name))
    return Dataset(name, *(REAL[name]() if name in REAL else _generated(name)))


def twenty_classes() -> Dataset:
    """Return 20newsgroups with all of its classes."""
    if TINY:
        X, y, X_test, y_test = _tiny("20newsgroups")
        return Dataset("20newsgroups", X, y, X_test, y_test)
    return Dataset("20newsgroups", *_newsgroups())
