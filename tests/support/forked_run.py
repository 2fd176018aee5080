# SPDX-License-Identifier: BSD-3-Clause
"""Fork within a callback; the child ends as the first argument says. For test_fork.py."""

from __future__ import annotations

import os
import sys

import numpy as np
import scipy.sparse as sp

import hybridtrain as ht

if __name__ == "__main__":
    ending, strategy, epoch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    parent, children = os.getpid(), []

    def fork(record: ht.EpochRecord) -> None:
        """Fork once; the child goes back into train, or ends."""
        if record.epoch != epoch:
            return
        child = os.fork()
        if child:
            children.append(child)
        elif ending == "exit":
            sys.exit(7)
        elif ending == "_exit":
            os._exit(7)

    X = np.random.default_rng(0).standard_normal((2000, 10)).astype(np.float32)
    try:
        data = sp.csr_matrix(X), X[:, 0] > 0  # of dense rows, Hogwild takes one worker
        result = ht.train(
            ht.Linear(), data, strategy=strategy, workers=3, epochs=3, callbacks=[fork]
        )
    except ht.ForkedError as error:
        print(error, flush=True)
        os._exit(7 if os.getpid() != parent else 1)
    assert os.getpid() == parent
    status = os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1])
    print("the child ended with", status, "the parent has", len(result.history), "epochs")
