# SPDX-License-Identifier: BSD-3-Clause
"""The command line: what it does, its errors and its exit codes."""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Sequence

from hybridtrain.cli.console import flush, forget_what_is_left
from hybridtrain.cli.explanations import explain
from hybridtrain.cli.parser import make_parser
from hybridtrain.errors import HybridTrainError
from hybridtrain.interrupts import Interrupted, Interrupts
from hybridtrain.quiet import ENDING
from hybridtrain.run.progress import tell

_OK, _FAILED, _BROKEN_PIPE = 0, 1, 141
_EXPECTED = HybridTrainError, OSError, MemoryError, UnicodeEncodeError
_BY_SIGNAL = 128  # plus its number: 129 SIGHUP, 130 SIGINT, 143 SIGTERM


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Words after the program's name; None: those of this process.

    Returns
    -------
    int
        Exit code: 0 done, 1 bad data or settings or diverged, 2 usage, 129 SIGHUP,
        130 Ctrl-C, 141 standard output was closed, 143 SIGTERM.
    """
    args = argparse.Namespace(saved=None)
    with Interrupts(*ENDING) as interrupts:
        try:
            interrupts.release()
            code, error = _run(argv, args, interrupts)
            interrupts.release()
            if error is not None:
                with contextlib.suppress(OSError):
                    flush()  # what was said before stands before
                what = explain(error, vars(args), args.saved)
                tell(f"hybridtrain: {' '.join(what.split())}")
            if isinstance(error, KeyboardInterrupt) or interrupts.n_raised:
                code = _BY_SIGNAL + (interrupts.number or signal.SIGINT)
            interrupts.hold()  # the end of the block is not to be interrupted
        except KeyboardInterrupt:
            code = _BY_SIGNAL + (interrupts.number or signal.SIGINT)
        forget_what_is_left()
        return code


def _run(
    argv: Sequence[str] | None, args: argparse.Namespace, interrupts: Interrupts
) -> tuple[int, BaseException | None]:
    """Run a command, with its options in `args`.

    Returns
    -------
    code : int
    error : exception or None
        The error to report.
    """
    try:
        _, rest = make_parser().parse_known_args(argv, args)
        if rest:
            args.parser.error(f"unrecognized arguments: {' '.join(rest)}")
        args.run(args)
        flush()
    except SystemExit as stop:  # after --help, --version, or a wrong word
        return stop.code if isinstance(stop.code, int) else _FAILED, None
    except BrokenPipeError:
        return _BROKEN_PIPE, None
    except (KeyboardInterrupt, *_EXPECTED) as error:
        return _FAILED, error
    except Exception:
        if not interrupts.n_raised:
            raise
        return _FAILED, Interrupted()
    return _OK, None
