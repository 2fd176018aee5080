# SPDX-License-Identifier: BSD-3-Clause
"""Train models on many workers: lock-free, or in replicas that merge.

`train` is the one call; strategies, optimizers and models are small constants.
"""

from hybridtrain.errors import (
    CoreError,
    CoreTimeoutError,
    DivergedError,
    HybridTrainError,
    InvalidDataError,
    InvalidSettingError,
    OutOfMemoryError,
    TrainingInterrupted,
)
from hybridtrain.models import Linear
from hybridtrain.optimizers import SGD, AdaGrad, Constant, Exponential, InverseScaling, LinearDecay
from hybridtrain.result import Result, load
from hybridtrain.strategies import Hogwild, Hybrid, Sync
from hybridtrain.train import train

__version__ = "0.1.0.dev0"
__all__ = [
    "SGD",
    "AdaGrad",
    "Constant",
    "CoreError",
    "CoreTimeoutError",
    "DivergedError",
    "Exponential",
    "Hogwild",
    "Hybrid",
    "HybridTrainError",
    "InvalidDataError",
    "InvalidSettingError",
    "InverseScaling",
    "Linear",
    "LinearDecay",
    "OutOfMemoryError",
    "Result",
    "Sync",
    "TrainingInterrupted",
    "load",
    "train",
]
