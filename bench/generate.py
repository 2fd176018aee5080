"""Write the two generated data sets: ``python -m bench.generate FOLDER``.

rcv1l is shaped like RCV1 (text): 700,000 + 50,000 rows, 47,236 features, about
75 non-zeros a row with Zipf-Mandelbrot frequencies, tf-idf values, rows of
length 1, labels from a sparse truth with 6 % flipped. ctrl is shaped like click
logs: 200,000 + 20,000 rows of 39 one-hot fields and a constant, 1,000,000
features, labels drawn from a logistic truth. Equal arguments give equal bits.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float32]
Parts = tuple[sparse.csr_matrix, Floats, sparse.csr_matrix, Floats]
_CHUNK = 50_000  # rows drawn at a time; part of what the bits depend on


def rcv1l(
    n: int = 700_000, n_test: int = 50_000, d: int = 47_236, words: int = 84, seed: int = 1
) -> Parts:
    """Draw text-like rows; return X, y, X_test, y_test."""
    rng = np.random.default_rng(seed)
    frequency = 1.0 / (np.arange(1, d + 1) + 20.0) ** 1.1
    frequency /= frequency.sum()
    cumulative = np.cumsum(frequency)
    rename = rng.permutation(d).astype(np.int32)
    truth = np.zeros(d)
    used = rng.permutation(d)[: d // 10]
    truth[used] = rng.normal(0, 1, len(used))
    total = n + n_test
    chunks = []
    for first in range(0, total, _CHUNK):
        m = min(_CHUNK, total - first)
        lengths = rng.lognormal(np.log(words) - 0.18, 0.6, m).astype(np.int64)
        rows = np.repeat(np.arange(m, dtype=np.int32), np.clip(lengths, 8, 1200))
        columns = np.searchsorted(cumulative, rng.random(len(rows)))
        columns = np.minimum(columns, d - 1).astype(np.int32)
        ones = np.ones(len(rows), np.float32)
        chunks.append(sparse.csr_matrix((ones, (rows, columns)), shape=(m, d)))
    X = sparse.vstack(chunks, format="csr")
    idf = np.log((total + 1) / (np.bincount(X.indices, minlength=d) + 1.0)).astype(np.float32)
    X.data = (1 + np.log(X.data)) * idf[X.indices]
    norms = np.sqrt(np.add.reduceat(X.data.astype(np.float64) ** 2, X.indptr[:-1]))
    X.data = (X.data / np.repeat(norms, np.diff(X.indptr))).astype(np.float32)
    margin = X @ truth
    y = np.where(margin > np.median(margin), 1.0, -1.0)
    y[rng.random(total) < 0.06] *= -1
    X = sparse.csr_matrix((X.data, rename[X.indices], X.indptr), shape=X.shape)
    X.sort_indices()
    y = y.astype(np.float32)
    return X[:n], y[:n], X[n:], y[n:]


def ctrl(
    n: int = 200_000, n_test: int = 20_000, d: int = 1_000_000, fields: int = 39, seed: int = 2
) -> Parts:
    """Draw click-like rows; return X, y, X_test, y_test."""
    rng = np.random.default_rng(seed)
    total = n + n_test
    sizes = np.exp(np.linspace(np.log(10), np.log(200_000), fields))
    sizes = np.maximum(sizes * (d - 1) / sizes.sum(), 4).astype(np.int64)
    sizes[-1] += d - 1 - sizes.sum()
    starts = np.concatenate([[0], np.cumsum(sizes)])
    indices = np.empty((total, fields + 1), np.int32)
    truth = np.zeros(d)
    for f, size in enumerate(sizes):
        frequency = 1.0 / (np.arange(1, size + 1) + 1.0) ** 1.1
        cumulative = np.cumsum(frequency / frequency.sum())
        rename = rng.permutation(size)
        drawn = np.searchsorted(cumulative, rng.random(total))
        indices[:, f] = starts[f] + rename[np.minimum(drawn, size - 1)]
        truth[starts[f] : starts[f + 1]] = rng.normal(0, 0.45, size)
    indices[:, -1] = d - 1
    truth[d - 1] = -1.0
    margin = truth[indices].sum(1)
    y = np.where(rng.random(total) < 1 / (1 + np.exp(-margin)), 1.0, -1.0).astype(np.float32)
    pointers = np.arange(total + 1, dtype=np.int32) * (fields + 1)
    ones = np.ones(indices.size, np.float32)
    X = sparse.csr_matrix((ones, indices.ravel(), pointers), shape=(total, d))
    return X[:n], y[:n], X[n:], y[n:]


GENERATORS: dict[str, Callable[..., Parts]] = {"rcv1l": rcv1l, "ctrl": ctrl}


def write(folder: Path, name: str, parts: Parts) -> None:
    """Write raw arrays, ``NAME.PART.{ptr,idx,val,y}.bin``, and ``NAME.dim`` at the end."""
    for part, X, y in (("train", *parts[:2]), ("test", *parts[2:])):
        X.indptr.astype(np.int64).tofile(folder / f"{name}.{part}.ptr.bin")
        X.indices.astype(np.int32).tofile(folder / f"{name}.{part}.idx.bin")
        X.data.astype(np.float32).tofile(folder / f"{name}.{part}.val.bin")
        y.astype(np.float32).tofile(folder / f"{name}.{part}.y.bin")
    (folder / f"{name}.dim").write_text(str(parts[0].shape[1]))


def main(arguments: list[str]) -> int:
    """Write the sets that the folder does not hold."""
    if len(arguments) != 1:
        print("usage: python -m bench.generate FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, generator in GENERATORS.items():
        if (folder / f"{name}.dim").exists():
            print(f"{name}: already there")
            continue
        started = time.perf_counter()
        write(folder, name, generator())
        print(f"{name}: written in {time.perf_counter() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
