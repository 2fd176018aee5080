# SPDX-License-Identifier: BSD-3-Clause
"""The words of the command line: commands, options and their help."""

from __future__ import annotations

import argparse
import re
from importlib import metadata
from typing import NoReturn

from hybridtrain.arguments import nearest
from hybridtrain.cli.node_words import add_node, add_nodes
from hybridtrain.cli.values import rate, scale, seeds, share_or_path, size
from hybridtrain.data.unknown import CHOICES as UNKNOWN_CHOICES
from hybridtrain.models.losses import LOSSES
from hybridtrain.optimizers.parse import OPTIMIZERS
from hybridtrain.plan.base import BACKENDS
from hybridtrain.strategies.parse import STRATEGIES, default_strategies

_DESCRIPTION = """\
Train linear models on all cores of this machine: synchronously, lock-free, or in
replicas that merge. "hybridtrain COMMAND --help" says more.
"""
_EPILOG = """\
examples:
  hybridtrain compare                              embedded data, no file needed
  hybridtrain compare data.svm --plot chart.png
  hybridtrain train data.svm --save model.npz
  hybridtrain predict model.npz new.svm

exit codes:
  0 done; 1 the data or a setting cannot be used, or the run diverged; 2 the command
  line is wrong; 129 the terminal was closed (SIGHUP); 130 interrupted (Ctrl-C); 141 the
  reader of the output went away; 143 asked to end (SIGTERM)
"""
_COMPARE = """\
Train the same model on the same rows with several strategies, one after the other,
and show speed, loss, waiting, staleness and reproducibility side by side.

Without FILE: on embedded data, 327,346 flights out of New York in 2013, of which it
is to be learned which arrive more than 15 minutes late.
"""
_COMPARE_EPILOG = """\
strategies:
  {strategies}
  With arguments, in quotes: 'hybrid(every=4096)', 'async(staleness=4)'
  One after the other: 'switch(("sync", 1), ("hybrid", None))', with the epochs of each
  In groups of workers: "hierarchical(groups=2, between='hybrid(every=64)')"

examples:
  hybridtrain compare
  hybridtrain compare --plot chart.png --json figures.json
  hybridtrain compare data.svm --workers 4 --strategies sync,hybrid --seeds 0:5
  hybridtrain compare data.svm.gz --validation test.svm --l2 1e-6 --epochs 10
  hybridtrain compare data.svm --strategies 'hybrid(every=256),hybrid(every=65536)'
"""
_TRAIN = """\
Train one model and say what was chosen. With --save, write it to a file for
`hybridtrain predict` and for ht.load in Python. Ctrl-C, SIGTERM or a closed terminal
ends the training and saves what was trained until then.
"""
_TRAIN_EPILOG = """\
examples:
  hybridtrain train data.svm --save model.npz
  hybridtrain train data.svm --validation 0.2 --epochs 20
  hybridtrain train data.svm --validation 0.2 --seconds 10
  hybridtrain train data.svm --epochs 100 --checkpoint run/ --resume --save model.npz
  hybridtrain train data.svm --validation test.svm --strategy sync --workers 4
  hybridtrain train prices.svm --loss squared --optimizer adagrad --save prices.npz
"""
_PREDICT = """\
Write one prediction a line: the class, or the number for a regression.
"""
_PREDICT_EPILOG = """\
examples:
  hybridtrain predict model.npz new.svm
  hybridtrain predict model.npz new.svm --proba --output probabilities.txt
  hybridtrain predict model.npz test.svm --score
"""


class _Parser(argparse.ArgumentParser):
    """A parser that asks what an unknown word was meant to be."""

    def error(self, message: str) -> NoReturn:
        """Print usage and message, and exit with code 2."""
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        unknown = re.search(r"unrecognized arguments: (--[\w-]+)", message)
        if choice:
            message += nearest(choice[1], re.findall(r"[\w-]+", choice[2]))
        elif unknown:
            message += nearest(unknown[1], self._option_string_actions)
        super().error(message)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; what it parses has `run` and `parser` of the command."""
    parser = _Parser(
        prog="hybridtrain",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"hybridtrain {metadata.version('hybridtrain')}"
    parser.add_argument("--version", action="version", version=version)
    found = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_compare(found)
    _add_train(found)
    _add_predict(found)
    add_node(found, _node)
    return parser


def _compare(args: argparse.Namespace) -> None:
    from hybridtrain.cli.compare import compare  # noqa: PLC0415 - slow, and --help does without

    compare(args)


def _train(args: argparse.Namespace) -> None:
    from hybridtrain.cli.train import train  # noqa: PLC0415 - as above

    train(args)


def _predict(args: argparse.Namespace) -> None:
    from hybridtrain.cli.predict import predict  # noqa: PLC0415 - as above

    predict(args)


def _node(args: argparse.Namespace) -> None:
    from hybridtrain.cli.node import node  # noqa: PLC0415 - as above

    node(args)


def _add_compare(found: argparse._SubParsersAction[_Parser]) -> None:
    parser = found.add_parser(
        "compare",
        help="train with several strategies, show which is fastest here",
        description=_COMPARE,
        epilog=_COMPARE_EPILOG.format(strategies="\n  ".join(_strategies())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_compare, parser=parser)
    parser.add_argument("file", metavar="FILE", nargs="?", help=_FILE + "; default: flights")
    parser.add_argument(
        "--strategies",
        metavar="A,B,...",
        help=f"which, in the table's order (default: {','.join(default_strategies())})",
    )
    parser.add_argument(
        "--no-baseline",
        dest="baseline",
        action="store_false",
        help="leave out the run with one worker",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        metavar="N",
        help="runs of each strategy and seed, of which the one of median time is shown "
        "(default: 5 if that is a matter of seconds and of one seed, else 1)",
    )
    parser.add_argument(
        "--seeds",
        type=seeds,
        metavar="A:B",
        help="train with each seed from A to B-1, or of A,B,...: the table shows medians and "
        "bands, and below it stands which strategies differ by more than their spread",
    )
    _add_training(
        parser,
        validation="0.1; the flights have rows of their own",
        l2="0; for the flights 1e-4",
        epochs=5,
    )
    parser.set_defaults(seed=None)  # 0, unless there are seeds
    group = parser.add_argument_group("output")
    group.add_argument(
        "--plot", metavar="FILE", help="draw loss against seconds: .png, .svg or .pdf"
    )
    group.add_argument("--json", metavar="FILE", help="write all figures and histories")


def _strategies() -> list[str]:
    """Return a line for each strategy: its name, and the first line of its docstring."""
    width = max(map(len, STRATEGIES)) + 2
    lines = [(kind.__doc__ or "").partition("\n")[0] for kind in STRATEGIES.values()]
    return [f"{name:{width}}{line}" for name, line in zip(STRATEGIES, lines, strict=True)]


def _add_train(found: argparse._SubParsersAction[_Parser]) -> None:
    parser = found.add_parser(
        "train",
        help="train one model, and save it",
        description=_TRAIN,
        epilog=_TRAIN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_train, parser=parser)
    parser.add_argument("file", metavar="FILE", help=_FILE)
    parser.add_argument(
        "--strategy",
        default="hybrid",
        metavar="NAME",
        help=f"{', '.join(STRATEGIES)}, or with arguments: 'hybrid(every=4096)', "
        "'hierarchical(groups=2)', "
        '\'switch(("sync", 1), ("hybrid", None))\' (default: %(default)s)',
    )
    parser.add_argument("--save", metavar="FILE", help="write the model here (.npz)")
    _add_training(parser, validation="none", l2="0", epochs=None)
    parser.set_defaults(backend=None)  # with --chaos processes
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="take so long at most, preparing included; learning rates are planned to fill it",
    )
    parser.add_argument(
        "--chaos",
        metavar="FAULTS",
        help="rehearse: kill or stop a worker in each step with a probability, such as "
        "kill:0.01,stop:0.01; --backend is then processes",
    )
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="after N epochs without a lower validation loss, let the rate fall to 0 and end; "
        "keep the best epoch's model",
    )
    parser.add_argument(
        "--record",
        metavar="FILE",
        help="write down the order of an asynchronous run, for ht.replay in Python",
    )
    group = parser.add_argument_group("checkpoints")
    group.add_argument(
        "--checkpoint",
        metavar="DIR",
        help="save the run here while it trains, on Ctrl-C and on SIGTERM",
    )
    group.add_argument(
        "--checkpoint-every",
        type=float,
        default=60.0,
        metavar="S",
        help="so often (default: %(default)g)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with the newest checkpoint; begin if there is none",
    )
    add_nodes(parser)


def _add_training(
    parser: argparse.ArgumentParser, *, validation: str, l2: str, epochs: int | None
) -> None:
    no_seconds = "" if epochs else "; with --seconds as many as fit"
    group = parser.add_argument_group("training")
    group.add_argument(
        "--loss", choices=LOSSES, metavar="NAME", help=f"{', '.join(LOSSES)} (default: by labels)"
    )
    group.add_argument("--l1", type=float, default=0.0, metavar="X", help="penalty (default: 0)")
    group.add_argument(
        "--l2",
        type=float,
        metavar="X",
        help=f"penalty, often about 1/rows (default: {l2})",
    )
    group.add_argument(
        "--optimizer",
        default="sgd",
        metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)}, or with arguments: 'sgd(average=True)' "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--lr",
        type=rate,
        default="auto",
        metavar="X",
        help="learning rate: a number, formula, or auto, chosen by short trials (default: auto)",
    )
    group.add_argument(
        "--batch-size", type=int, metavar="N", help="rows of a step of sync (default: by data)"
    )
    group.add_argument(
        "--epochs",
        type=int,
        default=epochs,
        metavar="N",
        help=f"passes over the rows (default: 5{no_seconds})",
    )
    group.add_argument(
        "--workers", type=int, metavar="N", help="how many train (default: the usable cores)"
    )
    group.add_argument(
        "--backend",
        choices=BACKENDS,
        default="threads",
        metavar="NAME",
        help="threads, or processes, which may be killed and lose nothing (default: threads)",
    )
    group.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="kill a stopped worker process that delays the others so long (default: 60)",
    )
    _add_reading(group)
    group.add_argument(
        "--validation",
        type=share_or_path,
        metavar="X",
        help=f"share of the rows, such as 0.2, or a file (default: {validation})",
    )
    group.add_argument(
        "--scale",
        type=scale,
        default="auto",
        metavar="auto|none",
        help="train in coordinates where columns are alike, if they differ much (default: auto)",
    )
    group.add_argument(
        "--seed", type=int, default=0, metavar="N", help="order of the rows (default: 0)"
    )


def _add_reading(group: argparse._ActionsContainer) -> None:
    """Add how files are read."""
    group.add_argument(
        "--zero-based",
        action="store_true",
        help="svmlight indices count from 0, not from 1; the model keeps it for predict",
    )
    group.add_argument(
        "--unknown",
        choices=UNKNOWN_CHOICES,
        default="ignore",
        help="features of other rows that training never saw: leave them out and say how many, "
        "or refuse the file (default: %(default)s)",
    )
    group.add_argument(
        "--max-bytes",
        type=size,
        metavar="N",
        help="most bytes of text, unpacked, such as 40G (default: 16G, or the free memory)",
    )


_FILE = "svmlight text (.svm, .gz, .xz, .zst; -: standard input), .npz or a folder of .npy"


def _add_predict(found: argparse._SubParsersAction[_Parser]) -> None:
    parser = found.add_parser(
        "predict",
        help="apply a saved model to new rows",
        description=_PREDICT,
        epilog=_PREDICT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_predict, parser=parser)
    parser.add_argument("model", metavar="MODEL", help="what train --save wrote")
    parser.add_argument("file", metavar="FILE", help=_FILE)
    parser.add_argument(
        "--proba",
        action="store_true",
        help="probability instead of class: of the second of two classes, or of each of "
        "several, tabs between them",
    )
    _add_reading(parser)
    parser.add_argument("--output", metavar="FILE", help="write here, not to standard output")
    parser.add_argument(
        "--score",
        action="store_true",
        help="say on standard error how well the predictions agree with the file's labels",
    )
