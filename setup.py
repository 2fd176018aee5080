"""Build the core as one library, and from each .pyx file a module that is linked with it.

Everything else is declared in pyproject.toml. HYBRIDTRAIN_SANITIZE=thread or
=address builds the core and the modules for that sanitizer.
"""

import multiprocessing
import os
import shutil
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent / "tools"))
import c_build

CPUS = os.cpu_count() or 1
LIBRARY = "libhybridtrain_core"
LIBRARY_FILE = f"{LIBRARY}.so.0"  # by its end no module: tools that look for some do not load it
SHARED = "hybridtrain._core._shared"  # what Cython would otherwise write into every module

# Protected names are seen by the modules, and calls among them are direct.
_NO_TABLES = "-fno-asynchronous-unwind-tables"  # nothing unwinds: C without exceptions
_OPTIMIZED = ["-O3", "-fno-unswitch-loops"]  # kernels are instances of inline functions already
LIBRARY_FLAGS = [*c_build.CORE, *_OPTIMIZED, "-fPIC", "-fvisibility=protected", _NO_TABLES]
# Names are bound when the library is loaded: a forked worker must not look for one.
LIBRARY_LINKS = ["-Wl,-Bsymbolic", "-Wl,-z,now", f"-Wl,-soname,{LIBRARY_FILE}", "-lm"]
# A module is small rather than fast: it calls the core once for many rows.
_SMALL = ["-Os", _NO_TABLES]
MODULE_FLAGS = [f"-I{c_build.CSRC}", *_SMALL, "-fvisibility=hidden"]
MODULE_LINKS = ["-Wl,-rpath,$ORIGIN", "-Wl,-z,now"]
DIRECTIVES = {
    "language_level": "3",
    "embedsignature": True,
    "binding": True,
    "auto_pickle": False,  # no memory of the core can be pickled
}


class BuildExt(build_ext):
    """Makes what is out of date, in a folder that stays: setuptools would make all of it."""

    def get_ext_filename(self, fullname):
        """Name the library without the tag of a Python: it knows none."""
        if fullname.rpartition(".")[2] == LIBRARY:
            return os.path.join(*fullname.split(".")[:-1], LIBRARY_FILE)
        return super().get_ext_filename(fullname)

    def build_extensions(self):
        sanitizer = os.environ.get("HYBRIDTRAIN_SANITIZE", "")
        python = f"{self.plat_name}-{sys.implementation.cache_tag}"
        folder = Path("build", f"{python}-{sanitizer or 'release'}")
        if self.force:
            shutil.rmtree(folder, ignore_errors=True)
        tools = c_build.Toolchain(self.compiler.compiler_so, self.compiler.linker_so)
        flags, links = ["-g0"], ["-s"]
        if sanitizer:
            links = c_build.SANITIZERS[sanitizer]
            flags = [*links, *c_build.DEBUG, "-O1"]

        core = c_build.units(folder, tools.limit_frames([*LIBRARY_FLAGS, *flags]))
        include = [f"-I{path}" for path in self.compiler.include_dirs]  # of Python
        modules = [
            c_build.Unit(source, folder / f"{source.stem}.o", [*MODULE_FLAGS, *include, *flags])
            for source in translate(self.extensions[1:], folder / "cython")
        ]
        objects = tools.compile([*core, *modules])
        library = folder / LIBRARY_FILE
        tools.link({library: objects[: len(core)]}, [*LIBRARY_LINKS, *links])
        linked = {o.with_suffix(".so"): [o, library] for o in objects[len(core) :]}
        tools.link(linked, [*MODULE_LINKS, *links])
        for extension, made in zip(self.extensions, [library, *linked], strict=True):
            path = Path(self.get_ext_fullpath(extension.name))
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(made, path)


def translate(extensions, folder):
    """Translate the .pyx files that have changed, all of them after a change of this file."""
    here = Path(__file__).stat().st_mtime
    translated = cythonize(
        extensions,
        compiler_directives=DIRECTIVES,
        shared_utility_qualified_name=SHARED,
        build_dir=str(folder),
        nthreads=CPUS if multiprocessing.get_start_method() == "fork" else 0,
        force=any(path.stat().st_mtime < here for path in folder.rglob("*.c")),
    )
    return [Path(extension.sources[0]) for extension in translated]


pyx_files = sorted(Path("hybridtrain/_core").glob("*.pyx"))
setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[  # the library first; what has no files here is made by BuildExt and by Cython
        Extension(f"hybridtrain._core.{LIBRARY}", []),
        *(Extension(f"hybridtrain._core.{path.stem}", [str(path)]) for path in pyx_files),
        Extension(SHARED, []),
    ],
)
