"""Build csrc/ once per instruction set and one extension per .pyx file.

Everything else is declared in pyproject.toml. HYBRIDTRAIN_SANITIZE=thread or
=address builds the core and the extensions for that sanitizer.
"""

import copy
import os
import platform
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib

ISA_FLAGS = {
    "baseline": [],
    "avx2": ["-mavx2"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mprefer-vector-width=512"],
}
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wno-psabi"]
# No frame of the core is larger, in bytes: threads may have small stacks (128 KiB in some C
# libraries), and a call chain of the core takes at most 16 KiB.
FRAME_NBYTES = 4096
SANITIZERS = {
    "": [],
    "thread": ["-fsanitize=thread", "-g", "-O1", "-DHT_DEBUG"],
    "address": [
        "-fsanitize=address,undefined",
        "-fno-omit-frame-pointer",
        "-g",
        "-O1",
        "-DHT_DEBUG",
    ],
}

CPUS = os.cpu_count() or 1

is_x86 = platform.machine() in ("x86_64", "AMD64")
sanitize = SANITIZERS[os.environ.get("HYBRIDTRAIN_SANITIZE", "")]
core_flags = [
    "-std=c11",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-fno-math-errno",
    *WARNINGS,
    *sanitize,
]
if not sanitize:  # they need frames of their own
    is_clang = "clang" in (os.environ.get("CC") or sysconfig.get_config_var("CC") or "")
    error = "" if is_clang else str(FRAME_NBYTES)
    core_flags += [f"-Wframe-larger-than={FRAME_NBYTES}", f"-Werror=frame-larger-than={error}"]
if is_x86:
    core_flags.append("-DHT_WITH_X86")

sources = sorted(str(path) for path in Path("csrc").glob("*/ht_*.c"))
per_isa = [s for s in sources if s.endswith(("_isa.c", "_racy.c"))]
headers = sorted(str(path) for path in Path("csrc").glob("*/*.h"))


class BuildCore(build_clib):
    """Build the libraries side by side, each in a folder: three hold objects of the same names."""

    def build_libraries(self, libraries):
        def build(named):
            one = copy.copy(self)
            one.build_temp = str(Path(self.build_temp) / named[0])
            build_clib.build_libraries(one, [named])

        with ThreadPoolExecutor(CPUS) as pool:
            list(pool.map(build, libraries))


def library(name, files, flags):
    """Describe one static library for build_clib."""
    return name, {
        "sources": files,
        "include_dirs": ["csrc"],
        "cflags": [*core_flags, *flags],
        "obj_deps": {"": headers},
    }


isas = [isa for isa in ISA_FLAGS if is_x86 or isa == "baseline"]
libraries = [library("ht_core", [s for s in sources if s not in per_isa], [])]
libraries += [library(f"ht_{isa}", per_isa, [f"-DHT_ISA={isa}", *ISA_FLAGS[isa]]) for isa in isas]

# The core calls the tables of the instruction sets: it stands before them.
linked = ["ht_core", *(f"ht_{isa}" for isa in isas), "m"]
extensions = [
    Extension(
        f"hybridtrain._core.{path.stem}",
        [str(path)],
        include_dirs=["csrc"],
        libraries=linked,
        depends=headers + sources,
        extra_compile_args=["-O2", "-fvisibility=hidden", *sanitize],
        extra_link_args=[flag for flag in sanitize if flag.startswith("-fsanitize")],
    )
    for path in sorted(Path("hybridtrain/_core").glob("*.pyx"))
]

setup(
    cmdclass={"build_clib": BuildCore},
    options={"build_ext": {"parallel": CPUS}},
    libraries=libraries,
    ext_modules=cythonize(
        extensions,
        compiler_directives={"language_level": "3", "embedsignature": True, "binding": True},
        build_dir="build/cython",
    ),
)
