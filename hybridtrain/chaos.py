# SPDX-License-Identifier: BSD-3-Clause
"""Rehearse faults on a job: `train(..., chaos=Plan([Kill(worker=1, step=40)]))`.

`result.faults` says which fired, when, and what they cost. docs/faults.md explains the points.
"""

from hybridtrain.run.chaos import POINTS, Fail, FaultRecord, Kill, Plan, Random, Slow, Stop

__all__ = ["POINTS", "Fail", "FaultRecord", "Kill", "Plan", "Random", "Slow", "Stop"]
