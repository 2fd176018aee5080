# SPDX-License-Identifier: BSD-3-Clause
"""Signals at random times: no crash, no hang, no lost result; more of them by environment.

HYBRIDTRAIN_STORM_SIGINTS and HYBRIDTRAIN_STORM_SIGTERMS are the counts.
"""

from __future__ import annotations

import os
import random

import pytest
from storm import has_kernel, storm

SIGINTS = int(os.environ.get("HYBRIDTRAIN_STORM_SIGINTS", "30"))
SIGTERMS = int(os.environ.get("HYBRIDTRAIN_STORM_SIGTERMS", "12"))

pytestmark = [pytest.mark.stress, pytest.mark.timeout(300 + 5 * (SIGINTS + SIGTERMS))]


def test_signals_at_random_times_lose_nothing() -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    result = storm(SIGINTS, SIGTERMS, seed)
    print(result.report())
    assert not result.faults, result.report()
    assert sum(result.counts.values()) == SIGINTS + SIGTERMS
    outcomes = {outcome for _, _, outcome in result.counts}
    assert "interrupted" in outcomes  # the signals met runs
    if not has_kernel():
        pytest.skip("the rest is done; ipykernel and jupyter_client are not installed")
