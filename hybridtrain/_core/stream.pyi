from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.point import Points
from hybridtrain._core.rows import Rows

MAX_WORKERS: int
LANES: int
LEAST_EXCHANGES: int

class Stream:
    n_parameters: int
    n_workers: int
    opened: int
    n_rates: int
    nbytes: int
    def __init__(
        self,
        rows: Rows,
        *,
        loss: int,
        n_classes: int,
        loss_parameter: float = 0.0,
        optimizer: int,
        l1: float,
        l2: float,
        decay1: float,
        decay2: float,
        beta: float,
        isa: int,
        n_workers: int,
        rows_in_flight: int,
        every: int,
        exact: bool,
        intercept: bool,
        n_hot: int,
        seed: int,
        strips: int,
        averages_per_epoch: int,
        lrs_per_epoch: int,
        lrs: npt.NDArray[np.float32],
        inverse_share: npt.NDArray[np.float32] | None,
        l1_factor: npt.NDArray[np.float32] | None = None,
        curvature: npt.NDArray[np.float32] | None,
        available: int | None = None,
    ) -> None: ...
    def close(self) -> None: ...
    def load(self, parameters: npt.NDArray[np.float32]) -> None: ...
    def store(self, parameters: npt.NDArray[np.float32]) -> None: ...
    def set_rates(self, epoch: int, lrs: npt.NDArray[np.float32]) -> None: ...
    def begin(self, epoch: int) -> None: ...
    def resume(self) -> None: ...
    def await_rest(self, seconds: float) -> bool: ...
    def stop_epoch(self) -> None: ...
    def leave(self) -> None: ...
    def work(self, worker: int) -> None: ...
    def measure_exchange(self) -> float: ...
    def rows_of(self, position: int) -> list[int]: ...
    def n_chunks(self) -> int: ...
    def epoch_report(self) -> dict[str, Any]: ...
    def report(self, worker: int) -> dict[str, Any]: ...
    def points(self) -> Points: ...
