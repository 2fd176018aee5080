# SPDX-License-Identifier: BSD-3-Clause
"""Results written to files and read back; every value of a file is checked before use."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from hybridtrain.data.numpy_files import read_npz
from hybridtrain.data.scaling import Scaling
from hybridtrain.data.sources import read_up_to
from hybridtrain.errors import InvalidDataError, is_systems, needing_memory, reason_of
from hybridtrain.machine import available_memory
from hybridtrain.models import class_weights
from hybridtrain.models.linear import Linear
from hybridtrain.observe.records import (
    EpochRecord,
    LedgerRecord,
    NodeReport,
    Staleness,
    WorkerReport,
)
from hybridtrain.paths import PathLike, path_text
from hybridtrain.writing import writing

if TYPE_CHECKING:
    from hybridtrain.run.result import Result

_Array = npt.NDArray[Any]
_FORMAT = "hybridtrain-result-2"
_ARRAYS = ("story", "coef", "intercept", "classes", "feature_names", "centre", "scale")
_CLASS_KINDS = "biufUSmM"  # numbers, text, times: no objects
_MOST_OF_A_COUNT = 1 << 63
_MOST_PIPED = 1 << 34  # bytes of a model that comes through a pipe
_START = b"PK\x03\x04"
_REMEDY = "load it where more memory is free"


def save(path: PathLike, result: Result) -> None:
    """Write a result; no pickle.

    Parameters
    ----------
    path : path-like
        ".npz" is appended if the name does not end with it.
    result : Result

    Raises
    ------
    InvalidDataError
        When the labels are objects other than text.
    OSError
        When the file cannot be written.
    """
    classes = result.classes
    if classes is not None and classes.dtype == object:
        if not all(isinstance(label, str) for label in classes):
            raise InvalidDataError(
                f"labels must be text or numbers to be saved, got {classes.tolist()!r}"
            )
        classes = classes.astype(np.str_)
    story = {
        "format": _FORMAT,
        "model": {
            **asdict(result.model),
            "class_weight": class_weights.to_json(result.model.class_weight),
        },
        "history": [asdict(record) for record in result.history],
        "settings": result.settings,
        "seed": result.seed,
        "ledger": [asdict(record) for record in result.ledger],
        "staleness": asdict(result.staleness),
        "staleness_in_place": result.staleness_in_place and asdict(result.staleness_in_place),
        "workers": [asdict(report) for report in result.workers],
        "nodes": [asdict(report) for report in result.nodes],
    }
    arrays: dict[str, Any] = {**result.params}
    if (scaling := result.scaling) is not None:
        story["scaling"] = {"target": scaling.target, "reason": scaling.reason}
        of_columns = {"centre": scaling.centre, "scale": scaling.scale}
        arrays |= {name: array for name, array in of_columns.items() if array is not None}
    arrays["story"] = np.array(json.dumps(story))
    if classes is not None:
        arrays["classes"] = classes
    if result.feature_names is not None:
        arrays["feature_names"] = np.array(result.feature_names, dtype=np.str_)
    name = path_text(path)
    with writing(name if name.endswith(".npz") else f"{name}.npz") as file:
        np.savez(file, **arrays)


def load(path: PathLike) -> dict[str, Any]:
    """Read what `save` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict
        The fields of a Result, all checked: types, shapes, ranges, and that they
        go together.

    Raises
    ------
    InvalidDataError
        When the file holds something else; the message says what was expected.
    OutOfMemoryError
        When the file does not fit into memory.
    OSError
        When the file cannot be read.
    """
    name = path_text(path)
    try:
        with needing_memory(f"loading {name}", _REMEDY), open(name, "rb") as file:
            arrays = read_npz(_seekable(file), _ARRAYS)
            for array in _ARRAYS[:3]:
                _require(array in arrays, f"an array {array!r}", list(arrays))
            return _checked(arrays, _read_story(arrays["story"]))
    except Exception as error:  # a foreign or damaged file fails in many ways
        if is_systems(error):
            raise
        raise InvalidDataError(
            f"{name} is not a file that Result.save of this version wrote: {reason_of(error)}"
        ) from error


def _seekable(file: BinaryIO) -> BinaryIO:
    """Return the file itself, or a file with the content of a pipe."""
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISREG(mode):
        return file
    if not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):
        raise ValueError("it is a device, models are read from files and pipes")
    start = file.read(len(_START))
    _require(start == _START, f"an archive, which begins with {_START!r}", start)
    available = available_memory()
    # Half of the memory: the arrays are copied out of it.
    most = _MOST_PIPED if available is None else min(_MOST_PIPED, available // 2)
    whole = read_up_to(file, most + 1, start)
    if whole.getbuffer().nbytes > most:
        raise ValueError(f"more than {most:,} bytes come through the pipe: write it to a file")
    return whole


def _require(is_met: bool, expected: str, found: Any) -> None:
    if not is_met:
        shown = repr(found)
        raise ValueError(
            f"expected {expected}, found {shown if len(shown) <= 80 else shown[:80] + '...'}"
        )


def _read_story(story: _Array) -> dict[str, Any]:
    _require(story.ndim == 0 and story.dtype.kind == "U", "a text 'story'", story.dtype)
    told: dict[str, Any] = json.loads(str(story))
    _require(isinstance(told, dict), "a JSON object in 'story'", type(told).__name__)
    _require(told.get("format") == _FORMAT, f"the format {_FORMAT!r}", told.get("format"))
    for name in ("model", "settings", "staleness"):
        _require(isinstance(told.get(name), dict), f"{name!r} as a JSON object", told.get(name))
    told.setdefault("nodes", [])  # of one machine, in files of earlier versions
    for name in ("history", "ledger", "workers", "nodes"):
        _require(isinstance(told.get(name), list), f"{name!r} as a list", told.get(name))
    return told


def _checked(arrays: dict[str, _Array], story: dict[str, Any]) -> dict[str, Any]:
    model = Linear(
        **{
            **story["model"],
            "class_weight": class_weights.from_json(story["model"].get("class_weight")),
        }
    )
    classes = _checked_classes(model, arrays.get("classes"))
    coef, intercept = arrays["coef"], arrays["intercept"]
    of_classes: tuple[int, ...] = ()
    if classes is not None and model.loss_object.has_margin_per_class:
        of_classes = (len(classes),)
    is_shaped = coef.ndim == len(of_classes) + 1 and coef.shape[:-1] == of_classes
    expected = "a 'coef' of shape " + ("(n_classes, n_features)" if of_classes else "(n_features,)")
    _require(is_shaped, expected + (f", {of_classes[0]} classes" if of_classes else ""), coef.shape)
    n_features = coef.shape[-1]
    _require(n_features >= 1, "at least 1 feature", n_features)
    expected = f"an 'intercept' of shape {of_classes}"
    _require(intercept.shape == of_classes, expected, intercept.shape)
    for name, array in (("coef", coef), ("intercept", intercept)):
        # A single intercept is stored as Python has it, in 64 bits; so are those of centred rows.
        dtypes = (np.float32,) if name == "coef" else (np.float32, np.float64)
        _require(
            array.dtype in dtypes,
            f"{name!r} of {' or '.join(d.__name__ for d in dtypes)}",
            array.dtype,
        )
        with np.errstate(over="ignore"):
            is_finite = bool(np.isfinite(array.astype(np.float32, copy=False)).all())
        _require(is_finite, f"{name!r} of finite numbers", "NaN or infinity")
    seed, in_place = story.get("seed"), story.get("staleness_in_place")
    _require(_is_count(seed, below=1 << 64), "a 'seed' in 0 .. 2**64 - 1", seed)
    reading = story["settings"].get("reading")
    is_reading = isinstance(reading, dict) and reading.get("zero_based", False) in (True, False)
    _require(reading is None or is_reading, "settings.reading to say zero_based", reading)
    return {
        "model": model,
        "params": {"coef": coef, "intercept": intercept if of_classes else float(intercept)},
        "classes": classes,
        "history": _records(EpochRecord, "history", story),
        "settings": story["settings"],
        "seed": seed,
        "ledger": _records(LedgerRecord, "ledger", story),
        "staleness": record_of(Staleness, "staleness", story["staleness"]),
        "staleness_in_place": None
        if in_place is None
        else record_of(Staleness, "staleness_in_place", in_place),
        "workers": _records(WorkerReport, "workers", story),
        "nodes": _records(NodeReport, "nodes", story),
        "feature_names": _names(arrays.get("feature_names"), n_features),
        "scaling": _scaling(model, story.get("scaling"), arrays, n_features),
    }


def _scaling(
    model: Linear, told: Any, arrays: dict[str, _Array], n_features: int
) -> Scaling | None:
    if told is None:
        return None
    _require(isinstance(told, dict), "'scaling' as a JSON object", told)
    target, reason = told.get("target"), told.get("reason")
    is_sound = _is_float(target) and math.isfinite(target) and isinstance(reason, str)
    _require(is_sound, "'scaling' with a finite target and a reason", told)
    expected = f"no target in 'scaling' for {model.loss} loss"
    _require(target == 0.0 or model.loss_object.is_shift_invariant, expected, target)
    for name in ("centre", "scale"):
        if name not in arrays:
            continue
        array = arrays[name]
        is_sound = array.dtype == np.float64 and array.shape == (n_features,)
        _require(is_sound, f"{n_features} float64 as {name!r}", f"{array.dtype} of {array.shape}")
        _require(bool(np.isfinite(array).all()), f"{name!r} of finite numbers", "NaN or infinity")
        _require(name == "centre" or bool((array > 0).all()), "'scale' above 0", "a number <= 0")
    return Scaling(arrays.get("centre"), arrays.get("scale"), float(target), reason)


def _names(names: _Array | None, n_features: int) -> tuple[str, ...] | None:
    if names is None:
        return None
    is_sound = names.dtype.kind == "U" and names.shape == (n_features,)
    _require(is_sound, f"'feature_names' of {n_features} texts", f"{names.dtype} of {names.shape}")
    return tuple(names.tolist())


def _checked_classes(model: Linear, classes: _Array | None) -> _Array | None:
    if not model.is_classifier:
        _require(classes is None, f"no 'classes' for {model.loss} loss", classes)
        return None
    most = model.loss_object.most_classes
    expected = f"2 to {most} 'classes'" if most > 2 else "two 'classes'"
    expected += f" for {model.loss} loss"
    _require(classes is not None, expected, None)
    assert classes is not None
    is_vector = classes.ndim == 1 and classes.dtype.kind in _CLASS_KINDS
    _require(is_vector, f"{expected}, numbers or text", f"{classes.dtype} of {classes.shape}")
    _require(2 <= len(classes) <= most, expected, len(classes))
    # Also false of NaN and NaT.
    is_sorted = bool((classes[:-1] < classes[1:]).all())
    _require(is_sorted, "'classes' that are distinct and in order", classes.tolist())
    return classes


# ---- records


def _is_count(value: Any, below: int = _MOST_OF_A_COUNT) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def _is_float(value: Any) -> bool:
    return isinstance(value, float) or _is_count(value)


def _is_seconds(value: Any) -> bool:
    return _is_float(value) and math.isfinite(value) and value >= 0


_IS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "int": (_is_count, "a whole number >= 0"),
    "float": (_is_float, "a number"),
    "float | None": (lambda value: value is None or _is_float(value), "a number or null"),
    "str": (lambda value: isinstance(value, str), "text"),
    "tuple[str, ...]": (
        lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
        "a list of texts",
    ),
    "tuple[int, ...]": (
        lambda value: isinstance(value, list) and all(map(_is_count, value)),
        "a list of whole numbers >= 0",
    ),
}
_SECONDS = ("seconds", "computing", "merging", "waiting", "lost")


def _records(kind: type[Any], name: str, story: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record_of(kind, f"{name}[{k}]", told) for k, told in enumerate(story[name]))


def record_of(kind: type[Any], name: str, told: Any) -> Any:
    """Return a record of a JSON object whose values have the types of the record's fields.

    Raises
    ------
    ValueError
        When they have not.
    """
    _require(isinstance(told, dict), f"{name!r} as a JSON object", told)
    known = {field.name: field for field in fields(kind)}
    needed = {key for key, field in known.items() if field.default is MISSING}
    _require(needed <= set(told) <= set(known), f"{name!r} of {', '.join(known)}", list(told))
    values: dict[str, Any] = {}
    for key, value in told.items():
        values[key] = tuple(value) if isinstance(value, list) else value
        if known[key].type == "Staleness | None":
            is_none = value is None
            values[key] = None if is_none else record_of(Staleness, f"{name}.{key}", value)
            continue
        is_kind, expected = _IS[str(known[key].type)]
        if key in _SECONDS:
            is_kind, expected = _is_seconds, "seconds >= 0"
        _require(is_kind(value), f"{name}.{key} to be {expected}", value)
    return kind(**values)
