# SPDX-License-Identifier: BSD-3-Clause
"""How csrc/ is compiled: its files, its flags, and a toolchain that makes only what is out of date.

setup.py, tests/c/run.py and bench/native/core.py read it here, so that it is written once.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"
IS_X86 = platform.machine() in ("x86_64", "AMD64")

# What every build of csrc/ needs: the same bits, whatever the instruction set and the compiler.
LANGUAGE = ["-std=c11", "-ffp-contract=off", "-fno-math-errno", "-Wno-psabi", f"-I{CSRC}"]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion"]
CORE = [*LANGUAGE, *WARNINGS, *(["-DHT_WITH_X86"] if IS_X86 else [])]
DEBUG = ["-g", "-DHT_DEBUG"]
SANITIZERS = {
    "thread": ["-fsanitize=thread"],
    "address": ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"],
}
_ISA_FLAGS = {
    "baseline": [],
    "avx2": ["-mavx2"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mprefer-vector-width=512"],
}
# No frame of the core is larger, in bytes: threads may have small stacks (128 KiB in some C
# libraries), and a call chain of the core takes at most 16 KiB.
_FRAME_NBYTES = 4096


@dataclass(frozen=True)
class Unit:
    """A C file, the object to make of it, and the flags for that."""

    source: Path
    target: Path
    flags: Sequence[str]


def sources() -> list[Path]:
    """Return all C files of csrc/."""
    return sorted(CSRC.glob("*/ht_*.c"))


def is_per_isa(source: Path) -> bool:
    """Tell whether a file is compiled once per instruction set."""
    return source.stem.endswith(("_isa", "_racy"))


def common_units(folder: Path, flags: Sequence[str]) -> list[Unit]:
    """Return what is compiled once, with its objects in a folder."""
    return [Unit(s, folder / f"{s.stem}.o", flags) for s in sources() if not is_per_isa(s)]


def isa_units(folder: Path, flags: Sequence[str]) -> list[Unit]:
    """Return what is compiled once per instruction set, with its objects in a folder."""
    return [
        Unit(s, folder / f"{s.stem}_{isa}.o", [*flags, f"-DHT_ISA={isa}", *own])
        for s in sources()
        if is_per_isa(s)
        for isa, own in _ISA_FLAGS.items()
        if IS_X86 or isa == "baseline"
    ]


def units(folder: Path, flags: Sequence[str]) -> list[Unit]:
    """Return the whole core; what takes longest comes first."""
    return [*isa_units(folder, flags), *common_units(folder, flags)]


class Toolchain:
    """Compiles and links side by side what is out of date.

    Beside a file that was made stands its record: the compiler's version and the command. A file
    is out of date where these differ, or where an input is not older than the record. A record is
    as old as the start of its command, so that an input which changes meanwhile is seen next time.

    Parameters
    ----------
    compiler, linker : sequence of str
        The commands, without files, and flags that every file gets.
    """

    def __init__(self, compiler: Sequence[str], linker: Sequence[str]) -> None:
        self._compiler = list(compiler)
        self._linker = list(linker)
        done = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True)
        self._version = done.stdout
        self.is_clang = "clang" in self._version

    def limit_frames(self, flags: Sequence[str]) -> list[str]:
        """Return the flags with a limit of frames, but for sanitizers, which need larger ones."""
        if any(flag.startswith("-fsanitize") for flag in flags):
            return list(flags)
        limit = f"frame-larger-than={_FRAME_NBYTES}"
        error = "frame-larger-than=" if self.is_clang else limit
        return [*flags, f"-W{limit}", f"-Werror={error}"]

    def compile(self, units: Iterable[Unit]) -> list[Path]:
        """Compile C files; return their objects."""

        def compile_one(unit: Unit) -> Path:
            files = ["-c", str(unit.source), "-o", str(unit.target)]
            command = [*self._compiler, *unit.flags, "-MMD", *files]
            return self._make(command, unit.target, inputs(unit.target))

        return self._side_by_side(compile_one, units)

    def link(self, targets: Mapping[Path, Sequence[Path]], flags: Sequence[str]) -> list[Path]:
        """Link each target of its files; return the targets."""

        def link_one(target: Path) -> Path:
            files = targets[target]
            command = [*self._linker, *map(str, files), *flags, "-o", str(target)]
            return self._make(command, target, files)

        return self._side_by_side(link_one, targets)

    @staticmethod
    def _side_by_side(function: Callable[[T], Path], arguments: Iterable[T]) -> list[Path]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(function, arguments))

    def _make(self, command: list[str], target: Path, needs: Sequence[Path]) -> Path:
        """Run a command that writes the target, unless that is up to date; return the target."""
        record = target.with_name(f"{target.name}.made")
        text = f"{self._version}\n{shlex.join(command)}\n"
        if needs and _is_up_to_date(target, record, text, needs):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        begun = target.with_name(f"{target.name}.begun")
        begun.write_text(text)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        sys.stderr.write(done.stderr)
        if done.returncode != 0:
            sys.exit(f"failed: {shlex.join(command)}")
        begun.replace(record)
        return target


def inputs(target: Path) -> list[Path]:
    """Return the files that an object was compiled from; none if it never was.

    The compiler writes them beside the object: "object: source header header".
    """
    try:
        names = target.with_suffix(".d").read_text().replace("\\\n", " ").partition(": ")[2]
    except FileNotFoundError:
        return []
    return [Path(name.replace("\\ ", " ")) for name in re.findall(r"(?:\\ |\S)+", names)]


def _is_up_to_date(target: Path, record: Path, text: str, needs: Sequence[Path]) -> bool:
    try:
        began = record.stat().st_mtime_ns
        return (
            target.is_file()
            and record.read_text() == text
            and all(path.stat().st_mtime_ns < began for path in needs)
        )
    except FileNotFoundError:
        return False
