# SPDX-License-Identifier: BSD-3-Clause
"""Results and other parameters to start from, as bytes for other processes. Nothing is pickled."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hybridtrain.data.numpy_files import read_npz
from hybridtrain.errors import InvalidDataError, InvalidSettingError, reason_of
from hybridtrain.models.linear import Linear
from hybridtrain.run.initial import read_initial
from hybridtrain.run.result import Result, load

_RESULT, _ARRAYS = b"R", b"A"
_NAMES = "coef", "intercept", "classes"


@contextmanager
def _passing_file() -> Iterator[Path]:
    with TemporaryDirectory(prefix="hybridtrain-") as folder:
        yield Path(folder) / "result.npz"


def result_to_bytes(result: Result) -> bytes:
    """Return a result as its file has it.

    Raises
    ------
    InvalidDataError
        When it cannot be saved.
    """
    with _passing_file() as path:
        result.save(path)
        return path.read_bytes()


def result_from_bytes(content: bytes) -> Result:
    """Return what `result_to_bytes` was given.

    Raises
    ------
    InvalidDataError
        When it is something else.
    """
    with _passing_file() as path:
        path.write_bytes(content)
        return load(path)


def init_to_bytes(init: Any, model: Linear) -> bytes:
    """Return the argument `init` of `train`.

    Raises
    ------
    InvalidDataError, InvalidSettingError
        As `train`; and when classes are neither numbers nor text.
    """
    initial = read_initial(init, model)
    if isinstance(init, Result):
        return _RESULT + result_to_bytes(init)
    assert initial is not None
    arrays = {name: getattr(initial, name) for name in _NAMES}
    classes = initial.classes
    if classes is not None and classes.dtype == object:
        if not all(isinstance(label, str) for label in classes):
            raise InvalidSettingError(
                f'init["classes"] must be text or numbers on other machines, got {classes.tolist()}'
            )
        arrays["classes"] = classes.astype(np.str_)
    file = BytesIO()
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    return _ARRAYS + file.getvalue()


def init_from_bytes(content: bytes) -> Result | dict[str, Any]:
    """Return what `init_to_bytes` was given.

    Raises
    ------
    InvalidDataError
        When it is something else.
    """
    kind, content = content[:1], content[1:]
    if kind == _RESULT:
        return result_from_bytes(content)
    try:
        return read_npz(BytesIO(content), _NAMES)
    except (ValueError, zipfile.BadZipFile) as error:
        raise InvalidDataError(f"the driver's init is damaged: {reason_of(error)}") from error
