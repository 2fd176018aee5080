"""What do the promises cost: exactness, progress, deadlines; fault points, staleness, ledger?

What the public interface switches is switched there. The fault points, the measured
staleness and the ledger, each worker's count of its rows for all to see, are always in
the shipped core: a copy of the sources without them is built, and both cores train in
processes of their own.
"""  # noqa: D400 - a question

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import hybridtrain as ht
from bench import ours
from bench.data import TINY, load
from bench.harness import EPOCHS, Figures, Sample, Side, interleave

_ROOT = Path(__file__).parents[1]
SWITCHES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Sync: the same bits for any number of workers": (
        {"strategy": ht.Sync(), "workers": 2},
        {"strategy": ht.Sync(exact=False), "workers": 2},
    ),
    "Hogwild: no update lost": (
        {"strategy": ht.Hogwild(exact=True), "workers": 2},
        {"strategy": ht.Hogwild(), "workers": 2},
    ),
    "Hybrid: progress": ({"progress": True, "workers": 2}, {"workers": 2}),
    "Hybrid: a deadline and a callback": (
        {"seconds": 1e6, "callbacks": [lambda record: None], "workers": 2},
        {"workers": 2},
    ),
}
# A core without a promise: file, what is cut, what stands there instead.
WITHOUT = {
    "fault points": [
        ("share/ht_point.h", r"if \(points != NULL && .*\n\s*ht_point_hold\(.*\);", "")
    ],
    "staleness": [
        (
            "share/ht_roster.c",
            r"(void ht_staleness_add\(ht_staleness_t \*staleness, uint64_t rows\)\s*\{\n)",
            r"\1    return;\n",
        )
    ],
    "ledger": [  # but at the end of an epoch
        ("run/ht_worker.c", r"ht_store_relaxed\(&run->self->rows_done, run->rows_done\);", ""),
        (
            "run/ht_worker.c",
            r"    self->rested_at_ns = ht_now_ns\(\);\n",
            r"    ht_store_relaxed(&self->rows_done, run.rows_done);\n\g<0>",
        ),
    ],
}
_PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import hybridtrain as ht
assert ht.__file__.startswith(sys.argv[1]), ht.__file__
from bench import ours
from bench.data import load
data = load("rcv1l")
rates = [ours.side(data, epochs=int(sys.argv[2]), workers=2)()["rate"] for _ in range(3)]
print(json.dumps(max(rates)))
"""


@pytest.mark.parametrize("what", SWITCHES)
@pytest.mark.parametrize("name", ["rcv1l", "ctrl"])
def test_switch(benchmark: Any, figures: Figures, name: str, what: str) -> None:
    data = load(name)
    sides = {
        who: ours.side(data, epochs=EPOCHS, **settings)
        for who, settings in zip(("with", "without"), SWITCHES[what], strict=True)
    }
    rounds = interleave(benchmark, sides, guarded=True, repetitions=2 if TINY else 5)
    for who in sides:
        figures.side(name, f"{what}: {who}", **{"rows/s, training": rounds.values(who, "rate")})
    figures.answer(f"{name}: {what}", rounds.ratio("rate", "with", "without"), rounds=rounds)


def _built(folder: Path, cuts: list[tuple[str, str, str]]) -> Path:
    """Build the package in a copy of its sources, after cutting what it promises."""
    folder.mkdir()
    for name in ("csrc", "hybridtrain", "tools"):
        shutil.copytree(_ROOT / name, folder / name)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, folder / name)
    for file, pattern, instead in cuts:
        path = folder / "csrc" / file
        text, found = re.subn(pattern, instead, path.read_text())
        assert found == 1, f"{file} is not what this benchmark cuts"
        path.write_text(text)
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


def _side(folder: Path) -> Side:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}  # for bench, after the package

    def run() -> Sample:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM, str(folder), str(EPOCHS)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        return {"rate": json.loads(done.stdout)}

    return run


@pytest.mark.skipif(find_spec("Cython") is None, reason="building the core needs Cython")
@pytest.mark.parametrize("what", list(WITHOUT)[:1] if TINY else list(WITHOUT))
def test_core(benchmark: Any, figures: Figures, what: str, tmp_path: Path) -> None:
    load("rcv1l")  # or skip
    sides = {
        "with": _side(_built(tmp_path / "with", [])),
        "without": _side(_built(tmp_path / "without", WITHOUT[what])),
    }
    rounds = interleave(benchmark, sides, guarded=True, repetitions=2 if TINY else 7)
    for who in sides:
        figures.side("rcv1l", f"{what}: {who}", **{"rows/s, training": rounds.values(who, "rate")})
    figures.answer(f"rcv1l: {what}", rounds.ratio("rate", "with", "without"), rounds=rounds)
