import numpy as np
import numpy.typing as npt

def isas() -> list[str]: ...

class Rows:
    n_elements: int
    def __init__(
        self,
        n_features: int,
        pointers: npt.NDArray[np.int64] | None,
        indices: npt.NDArray[np.int32] | None,
        values: npt.NDArray[np.float32] | None,
        targets: npt.NDArray[np.float32] | None = None,
        weights: npt.NDArray[np.float32] | None = None,
        hot: npt.NDArray[np.int32] | None = None,
        n_hot: int = 0,
        mapped: bool = False,
        reach: npt.NDArray[np.float32] | None = None,
    ) -> None: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def n_hot(self) -> int: ...
    @property
    def mapped(self) -> bool: ...
    @property
    def arrays(self) -> dict[str, memoryview]: ...
    @property
    def is_dense(self) -> bool: ...
    def find_fault(self, first: int, last: int) -> tuple[str, int] | None: ...
    def count(
        self,
        first: int,
        last: int,
        intercept: bool,
        weight: npt.NDArray[np.float64] | None,
        curvature: npt.NDArray[np.float64] | None,
    ) -> tuple[int, float, float, float]: ...
    def norms(self, first: int, last: int, norm2: npt.NDArray[np.float32]) -> None: ...
    def raise_largest(self, first: int, last: int, largest: npt.NDArray[np.float32]) -> None: ...
    def renumber(
        self,
        rank: npt.NDArray[np.int32],
        n_hot: int,
        first: int,
        last: int,
        indices: npt.NDArray[np.int32],
        values: npt.NDArray[np.float32] | None,
        hot: npt.NDArray[np.int32],
    ) -> None: ...
    def margins(
        self,
        parameters: npt.NDArray[np.float32],
        n_outputs: int,
        isa: int,
        first: int,
        last: int,
        z: npt.NDArray[np.float32],
    ) -> None: ...
