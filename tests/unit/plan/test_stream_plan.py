# SPDX-License-Identifier: BSD-3-Clause
"""The constants of a run of the stream are those of the data, whatever cores there are."""

from __future__ import annotations

import numpy as np
import pytest
from reference.problems import planted

import hybridtrain as ht
from hybridtrain._core.rows import isas
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.plan.base import Settings
from hybridtrain.plan.problem import Problem
from hybridtrain.plan.stream import StreamPlan


@pytest.mark.parametrize("strategy", [ht.Hybrid(hot=1.0), ht.Async()])
def test_the_cores_that_there_are_change_no_constant(
    strategy: ht.Hybrid | ht.Async, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = planted(7, 6000, 50, longest=20)
    targets = np.where(data.labels, 1, -1).astype(np.float32)
    problem = Problem(ht.Linear(), canonical_rows(data.X, threads=1), targets, None, None)
    settings = Settings(
        optimizer=ht.SGD(), workers=4, epochs=1, batch_size=None, seed=0, isa=isas()[-1]
    )
    curvatures = set()
    for cores in (1, 2, 4):
        for module in ("plan.stream", "parallel"):
            monkeypatch.setattr(f"hybridtrain.{module}.usable_cores", lambda cores=cores: cores)
        plan = strategy.plan(problem, settings)
        assert isinstance(plan, StreamPlan)
        assert plan.curvature is not None
        curvatures.add((plan.curvature.tobytes(), plan.choices["lr"], plan.every))
    assert len(curvatures) == 1
