# SPDX-License-Identifier: BSD-3-Clause
"""Train models on many workers: lock-free, or in replicas that merge.

`train` is the one call; strategies, optimizers and models are small constants.
"""

from hybridtrain.quiet import quiet_command
from hybridtrain.version import __version__ as __version__

quiet_command()  # before what takes long: Ctrl-C then leaves no traceback

_PUBLIC = {
    "hybridtrain": ("chaos", "datasets"),
    "hybridtrain.comparison.compare": ("compare",),
    "hybridtrain.comparison.compared_run": ("ComparedRun",),
    "hybridtrain.comparison.compared_strategy": ("ComparedStrategy",),
    "hybridtrain.comparison.comparison": ("Comparison",),
    "hybridtrain.data.files": ("FileRows", "read_data", "save_directory"),
    "hybridtrain.errors": (
        "CheckpointError",
        "CoreError",
        "CoreTimeoutError",
        "DataChangedError",
        "DataWarning",
        "DivergedError",
        "ForkedError",
        "HybridTrainError",
        "InvalidDataError",
        "InvalidSettingError",
        "MissingPackageError",
        "NodesLostError",
        "OutOfMemoryError",
        "RecordError",
        "TrainingInterrupted",
        "WorkersDiedError",
    ),
    "hybridtrain.models.linear": ("Linear",),
    "hybridtrain.nodes.places": ("Nodes",),
    "hybridtrain.observe.records": (
        "EpochRecord",
        "LedgerRecord",
        "NodeReport",
        "Staleness",
        "WorkerReport",
    ),
    "hybridtrain.optimizers.adagrad": ("AdaGrad",),
    "hybridtrain.optimizers.adam": ("Adam",),
    "hybridtrain.optimizers.base": ("Optimizer",),
    "hybridtrain.optimizers.ftrl": ("FTRL",),
    "hybridtrain.optimizers.outer": ("Nesterov", "SlowMo"),
    "hybridtrain.optimizers.periods": ("QSR",),
    "hybridtrain.optimizers.rmsprop": ("RMSProp",),
    "hybridtrain.optimizers.schedules": (
        "Constant",
        "Cosine",
        "Exponential",
        "InverseScaling",
        "LinearDecay",
        "Schedule",
        "Warmup",
    ),
    "hybridtrain.optimizers.sgd": ("SGD",),
    "hybridtrain.run.checkpoint": ("Checkpoint",),
    "hybridtrain.run.replay": ("replay",),
    "hybridtrain.run.result": ("Result", "load"),
    "hybridtrain.strategies.asynchronous": ("Async",),
    "hybridtrain.strategies.base": ("Strategy",),
    "hybridtrain.strategies.hierarchical": ("Hierarchical",),
    "hybridtrain.strategies.hogwild": ("Hogwild",),
    "hybridtrain.strategies.hybrid": ("Hybrid",),
    "hybridtrain.strategies.local_sgd": ("LocalSGD",),
    "hybridtrain.strategies.switch": ("Switch",),
    "hybridtrain.strategies.sync": ("Sync",),
    "hybridtrain.training": ("train",),
}
_HOMES = {name: home for home, names in _PUBLIC.items() for name in names}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: the import of the package takes no time.

    Type checkers read them in ``__init__.pyi``.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - see above

    home = _HOMES[name]
    if home == __name__:
        return import_module(f"{__name__}.{name}")
    globals()[name] = getattr(import_module(home), name)
    return globals()[name]


def __dir__() -> list[str]:
    """Return the public names, and those of every module."""
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
