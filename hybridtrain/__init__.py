# SPDX-License-Identifier: BSD-3-Clause
"""Train models on many workers: lock-free, or in replicas that merge.

`train` is the one call; strategies, optimizers and models are small constants.
"""

from hybridtrain.quiet import quiet_command

quiet_command()  # before what takes long: Ctrl-C then leaves no traceback

from hybridtrain import datasets
from hybridtrain.comparison.compare import compare
from hybridtrain.comparison.comparison import Comparison
from hybridtrain.data.files import read_data, save_directory
from hybridtrain.errors import (
    CoreError,
    CoreTimeoutError,
    DataChangedError,
    DataWarning,
    DivergedError,
    ForkedError,
    HybridTrainError,
    InvalidDataError,
    InvalidSettingError,
    MissingPackageError,
    OutOfMemoryError,
    TrainingInterrupted,
)
from hybridtrain.models.linear import Linear
from hybridtrain.optimizers.parse import FTRL, SGD, AdaGrad, Adam
from hybridtrain.optimizers.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    LinearDecay,
    Warmup,
)
from hybridtrain.run.result import Result, load
from hybridtrain.strategies.hogwild import Hogwild
from hybridtrain.strategies.hybrid import Hybrid
from hybridtrain.strategies.sync import Sync
from hybridtrain.training import train

__version__ = "0.1.0"
__all__ = [
    "FTRL",
    "SGD",
    "AdaGrad",
    "Adam",
    "Comparison",
    "Constant",
    "CoreError",
    "CoreTimeoutError",
    "Cosine",
    "DataChangedError",
    "DataWarning",
    "DivergedError",
    "Exponential",
    "ForkedError",
    "Hogwild",
    "Hybrid",
    "HybridTrainError",
    "InvalidDataError",
    "InvalidSettingError",
    "InverseScaling",
    "Linear",
    "LinearDecay",
    "MissingPackageError",
    "OutOfMemoryError",
    "Result",
    "Sync",
    "TrainingInterrupted",
    "Warmup",
    "compare",
    "datasets",
    "load",
    "read_data",
    "save_directory",
    "train",
]
