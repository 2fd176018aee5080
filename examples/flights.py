# SPDX-License-Identifier: BSD-3-Clause
"""Which flights arrive late? Train on New York's departures of 2013.

The data come with the package: 262,148 flights to train on, the 65,198 after
them to validate on, eleven one-hot columns a row. Run:

    python examples/flights.py
"""

import time

import numpy as np

import hybridtrain as ht

EPOCHS = 10
RUNS = [("hybrid", 1), ("hybrid", 2), ("hogwild", 1), ("hogwild", 2), ("sync", 1), ("sync", 2)]


def main() -> None:
    """Train with every strategy, print a table and what makes flights late."""
    flights = ht.datasets.flights()
    X, late = flights.train
    n_rows, n_features = X.shape
    print(f"{n_rows:,} flights, {n_features:,} features; {late.mean():.1%} arrive late\n")
    print("strategy  workers  million rows/s  seconds  validation loss  accuracy")
    for strategy, workers in RUNS:
        started = time.perf_counter()
        result = ht.train(
            ht.Linear(l2=1e-5),
            flights.train,
            strategy=strategy,
            workers=workers,
            epochs=EPOCHS,
            validation=flights.validation,
        )
        seconds = time.perf_counter() - started
        training = sum(record.seconds for record in result.history)
        print(
            f"{strategy:8} {workers:8} {EPOCHS * n_rows / training / 1e6:15.1f} {seconds:8.2f} "
            f"{result.history[-1].validation_loss:16.4f} {result.score(*flights.validation):9.4f}"
        )
    coef = result.params["coef"]
    order = np.argsort(coef)
    print("\nmost on time:", ", ".join(flights.feature_names[i] for i in order[:4]))
    print("most late:   ", ", ".join(flights.feature_names[i] for i in order[:-5:-1]))


if __name__ == "__main__":
    main()
