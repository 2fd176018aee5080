"""Build csrc/ and run the C tests: plain, under ThreadSanitizer, under ASan and UBSan.

    python tests/c/run.py [plain] [thread] [address] [--only NAME] [--build DIR]
    python tests/c/run.py --weaken [--build DIR]

What is up to date in the build folder is not compiled again.

The second form builds csrc/ once per hand-over of ht_atomic.h with that pair of
orders relaxed. ThreadSanitizer must then report a race, or the order is untested.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import c_build

HERE = Path(__file__).resolve().parent
BUILD = c_build.ROOT / "build" / "c"
FLAGS = [*c_build.CORE, *c_build.DEBUG, "-O2", "-pthread", "-Werror", f"-I{HERE}"]
MODES = {
    "plain": [],
    "thread": c_build.SANITIZERS["thread"],
    "address": [*c_build.SANITIZERS["address"], "-fno-sanitize-recover=all"],
}
SANITIZER_OPTIONS = {
    "TSAN_OPTIONS": "halt_on_error=1 exitcode=66",
    "ASAN_OPTIONS": "detect_stack_use_after_return=1 strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
TIMEOUT_S = 120

# Each hand-over of ht_atomic.h (its number is HT_WEAKEN) and the tests that
# must notice when it is gone.
PAIRS = {
    "HT_PAIR_EPOCH": (1, ["test_roster"]),
    "HT_PAIR_REST": (2, ["test_roster"]),
    "HT_PAIR_BLOCK": (3, ["test_block", "test_replica"]),
    "HT_PAIR_COMMIT": (4, ["test_block", "test_round_orders"]),
    "HT_PAIR_ADDED": (5, ["test_round_orders"]),
    "HT_PAIR_DONE": (6, ["test_round_orders"]),
    "HT_PAIR_STEP": (7, ["test_round_orders"]),
    "HT_PAIR_CLOCK": (8, ["test_clock"]),
    "HT_PAIR_LOG": (9, ["test_log"]),
}
RACE = "WARNING: ThreadSanitizer: data race"
UNLUCKY_MAPPING = "unexpected memory mapping"


@dataclass(frozen=True)
class Outcome:
    """How a test ended: its exit status (None: too late) and what it printed."""

    status: int | None
    output: str

    @property
    def text(self) -> str:
        """The status in a word or two."""
        if self.status is None:
            return f"no end within {TIMEOUT_S} s"
        return "ok" if self.status == 0 else f"exit status {self.status}"


class Builder:
    """Compiles the core and links tests with it, each mode in a folder of its own."""

    def __init__(self, folder: Path, compiler: str) -> None:
        self.folder = folder
        self.tools = c_build.Toolchain([compiler, *FLAGS], [compiler, "-pthread"])

    def core(self, name: str, flags: list[str]) -> list[Path]:
        """Compile what csrc/ has one of; return the objects."""
        return self.tools.compile(
            c_build.common_units(self.folder / name, self.tools.limit_frames(flags))
        )

    def per_isa(self, name: str, flags: list[str]) -> list[Path]:
        """Compile what csrc/ has one of per instruction set; return the objects."""
        if MODES["address"][0] in flags and not self.tools.is_clang:
            # The fake stack of gcc 12 aligns frames to less than 64-byte vectors need.
            flags = [*flags, "--param=asan-use-after-return=0"]
        return self.tools.compile(
            c_build.isa_units(self.folder / name, self.tools.limit_frames(flags))
        )

    def tests(self, name: str, flags: list[str], core: list[Path], names: list[str]) -> list[Path]:
        """Compile the tests and their helpers, link with the core; return the programs."""
        folder = self.folder / name
        helpers = sorted((HERE / "support").glob("*.c"))
        wanted = [HERE / f"{test}.c" for test in names]
        units = [c_build.Unit(s, folder / f"{s.stem}.o", flags) for s in [*helpers, *wanted]]
        objects = self.tools.compile(units)
        shared = [*objects[: len(helpers)], *core]
        own = zip(names, objects[len(helpers) :], strict=True)
        return self.tools.link({folder / test: [o, *shared] for test, o in own}, [*flags, "-lm"])


class Runner:
    """Runs test programs, without address randomisation where a sanitizer needs it."""

    def __init__(self) -> None:
        self._prefix: list[str] = []

    def run(self, program: Path) -> Outcome:
        """Run one test to its end."""
        environment = {**os.environ, **SANITIZER_OPTIONS}
        try:
            done = subprocess.run(
                [*self._prefix, str(program)],
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_S,
                env=environment,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as late:
            partial = late.stderr or b""  # bytes, whatever `text` says
            return Outcome(None, partial.decode(errors="replace"))
        output = done.stdout + done.stderr
        if UNLUCKY_MAPPING in output and not self._prefix and shutil.which("setarch"):
            # ThreadSanitizer of older compilers, kernels with much randomness.
            self._prefix = ["setarch", platform.machine(), "-R"]
            return self.run(program)
        return Outcome(done.returncode, output)


class Report:
    """Prints a line per test and counts."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def add(self, mode: str, test: str, passed: bool, text: str, output: str = "") -> None:
        """Print one line, and the output of what failed."""
        self.passed += passed
        self.failed += not passed
        print(f"{'PASS' if passed else 'FAIL'}  {mode:<22} {test:<22} {text}", flush=True)
        if not passed and output:
            print("\n".join(f"      {line}" for line in output.splitlines()[:60]), flush=True)

    def close(self) -> int:
        """Print the sums; return the exit status."""
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0


def run_modes(builder: Builder, modes: list[str], names: list[str], report: Report) -> None:
    """Run the named tests in each mode."""
    runner = Runner()
    for mode in modes:
        flags = MODES[mode]
        core = [*builder.core(mode, flags), *builder.per_isa(mode, flags)]
        for program in builder.tests(mode, flags, core, names):
            outcome = runner.run(program)
            report.add(mode, program.name, outcome.status == 0, outcome.text, outcome.output)


def run_weakened(builder: Builder, report: Report) -> None:
    """Check that the whole core is free of races, and that each weakened one is not."""
    flags = MODES["thread"]
    per_isa = builder.per_isa("weaken", flags)
    if any(path.name == "ht_atomic.h" for o in per_isa for path in c_build.inputs(o)):
        sys.exit("a source per instruction set uses ht_atomic.h: compile it for each pair, too")
    runner = Runner()
    whole = sorted({name for _, names in PAIRS.values() for name in names})
    core = [*builder.core("weaken", flags), *per_isa]
    for program in builder.tests("weaken", flags, core, whole):
        outcome = runner.run(program)
        report.add("not weakened", program.name, outcome.status == 0, outcome.text, outcome.output)
    for pair, (number, names) in PAIRS.items():
        weak = [*flags, f"-DHT_WEAKEN={number}"]
        core = [*builder.core(f"weaken-{number}", weak), *per_isa]
        programs = builder.tests(f"weaken-{number}", weak, core, names)
        noticed = [p.name for p in programs if RACE in runner.run(p).output]
        report.add(
            f"without {pair}",
            ", ".join(names),
            bool(noticed),
            f"race seen by {', '.join(noticed)}"
            if noticed
            else f"order {number} can be weakened unnoticed",
        )


def main() -> int:
    """Parse the arguments, build, run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modes", nargs="*", metavar="mode", help=f"of {', '.join(MODES)}")
    parser.add_argument("--build", type=Path, default=BUILD, help="folder; default: build/c")
    parser.add_argument("--only", action="append", metavar="NAME", help="run this test only")
    parser.add_argument("--weaken", action="store_true", help="test the memory orders")
    arguments = parser.parse_args()
    if arguments.weaken and (arguments.modes or arguments.only):
        parser.error("--weaken chooses mode and tests itself")
    if unknown := set(arguments.modes) - set(MODES):
        parser.error(f"expected modes out of {', '.join(MODES)}, found {', '.join(unknown)}")
    names = sorted(path.stem for path in HERE.glob("test_*.c"))
    if unknown := set(arguments.only or []) - set(names):
        parser.error(f"expected tests out of {', '.join(names)}, found {', '.join(unknown)}")
    report = Report()
    builder = Builder(arguments.build.resolve(), os.environ.get("CC", "gcc"))
    if arguments.weaken:
        run_weakened(builder, report)
    else:
        run_modes(builder, arguments.modes or list(MODES), arguments.only or names, report)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
