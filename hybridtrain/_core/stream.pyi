from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.rows import Rows

OPTIMIZERS: dict[str, int]
MAX_WORKERS: int

def hot_nbytes(optimizer: int, has_penalty: bool) -> int: ...
def intercept_rate(optimizer: int) -> float: ...

class Stream:
    n_parameters: int
    n_workers: int
    nbytes: int
    def __init__(
        self,
        rows: Rows,
        *,
        loss: int,
        optimizer: int,
        isa: int,
        n_workers: int,
        rows_in_flight: int,
        every: int,
        exact: bool,
        intercept: bool,
        n_hot: int,
        seed: int,
        strips: int,
        l1: float,
        l2: float,
        lrs_per_epoch: int,
        lrs: npt.NDArray[np.float32],
        inverse_share: npt.NDArray[np.float32] | None,
        curvature: npt.NDArray[np.float32] | None,
    ) -> None: ...
    def close(self) -> None: ...
    def load(self, parameters: npt.NDArray[np.float32]) -> None: ...
    def store(self, parameters: npt.NDArray[np.float32]) -> None: ...
    def begin(self, epoch: int) -> None: ...
    def await_rest(self, seconds: float) -> bool: ...
    def stop_epoch(self) -> None: ...
    def leave(self) -> None: ...
    def work(self, worker: int) -> None: ...
    def measure_exchange(self) -> float: ...
    def rows_of(self, position: int) -> list[int]: ...
    def n_chunks(self) -> int: ...
    def report(self, worker: int) -> dict[str, Any]: ...
