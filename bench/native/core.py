"""Compile a C file of this folder together with modules of csrc/, for this processor."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import c_build

_HERE = Path(__file__).resolve().parent
# The kernels that the package builds once per instruction set are here built once, for all
# that this processor has.
_FLAGS = [
    *(*c_build.LANGUAGE, "-O3", "-march=native", "-DHT_ISA=baseline"),
    *("-shared", "-fPIC", "-pthread"),
]


def build(folder: Path, name: str, modules: tuple[str, ...]) -> ctypes.CDLL:
    """Compile name.c and all files of the modules (ht_MODULE*.c) into a library in folder."""
    path = folder / f"{name}.so"
    files = [s for s in c_build.sources() if any(s.match(f"ht_{module}*.c") for module in modules)]
    subprocess.run(["cc", *_FLAGS, "-o", path, _HERE / f"{name}.c", *files, "-lm"], check=True)
    return ctypes.CDLL(str(path))
