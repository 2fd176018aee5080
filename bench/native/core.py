"""Compile a C file of this folder together with modules of csrc/, for this processor."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

_HERE = Path(__file__).parent
_CSRC = _HERE.parents[1] / "csrc"
# The kernels that the package builds once per instruction set are here built once, for all
# that this processor has.
_FLAGS = [
    *("-std=gnu11", "-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno"),
    *("-shared", "-fPIC", "-pthread", "-Wno-psabi", "-DHT_ISA=baseline", f"-I{_CSRC}"),
]


def build(folder: Path, name: str, modules: tuple[str, ...]) -> ctypes.CDLL:
    """Compile name.c and all files of the modules (ht_MODULE*.c) into a library in folder."""
    path = folder / f"{name}.so"
    files = sorted({file for module in modules for file in _CSRC.glob(f"*/ht_{module}*.c")})
    subprocess.run(["cc", *_FLAGS, "-o", path, _HERE / f"{name}.c", *files, "-lm"], check=True)
    return ctypes.CDLL(str(path))
