from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.stream import Stream

OPEN: int
TAKEN: int
DONE: int
AWAY: int
UNIT: int

_Floats = npt.NDArray[np.float32]
_Bytes = npt.NDArray[np.uint8]

def encode(values: _Floats, base: _Floats, first: int, last: int) -> bytes: ...
def decode(
    body: bytes | bytearray | memoryview, values: _Floats, first: int, last: int
) -> None: ...

class LeasedStream(Stream):
    between: object
    n_coordinates: int
    n_arrays: int
    def wake(self) -> None: ...
    def await_workers(self, seconds: float) -> bool: ...
    def call(self) -> None: ...
    def local_report(self) -> dict[str, Any]: ...
    def chunks(self, first: int, states: _Bytes) -> None: ...
    def set_chunks(self, first: int, last: int, state: int) -> None: ...
    def offer(self, first: int, last: int) -> None: ...
    def pace(self) -> float: ...
    def look(self, order: npt.NDArray[np.int64] | None, values: _Floats) -> None: ...
    def put(self, order: npt.NDArray[np.int64] | None, values: _Floats, rows: int) -> None: ...
    def merge(
        self,
        own: _Floats,
        base: _Floats,
        shared: _Floats,
        merged: _Floats,
        *,
        first: int,
        curvature: _Floats | None,
        pace: float,
        rows: int,
        others: int,
        epoch_rows: int,
    ) -> None: ...
    def rows_in(self, done: _Bytes) -> int: ...
