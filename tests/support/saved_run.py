# SPDX-License-Identifier: BSD-3-Clause
"""Train with checkpoints and tell the bits at the end, for tests that end this process."""

from __future__ import annotations

import hashlib
import json
import logging
import sys

import numpy as np
from long_run import rows

import hybridtrain as ht

if __name__ == "__main__":
    strategy, backend, folder, workers, epochs = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    X = rows(40_000)
    y = np.asarray(X[:, :20].sum(axis=1)).ravel() > 0
    result = ht.train(
        ht.Linear(l1=1e-6),
        (X, y),
        strategy=strategy,
        optimizer="adagrad(lr=0.1)",
        backend=backend,
        workers=int(workers),
        epochs=int(epochs),
        checkpoint=ht.Checkpoint(folder, every_seconds=0.02),
        resume=True,
        progress=False,
    )
    told = {
        "bits": hashlib.sha256(result.params["coef"].tobytes()).hexdigest(),
        "ledger": [(r.trained, r.repeated, r.dropped) for r in result.ledger],
        "resumed": result.settings["resumed"],
    }
    print("told", json.dumps(told), flush=True)
