# SPDX-License-Identifier: BSD-3-Clause
"""From the words of a command to strategies, optimizers and models, and back."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from typing import Any

from hybridtrain.cli.labels import choose_loss
from hybridtrain.errors import InvalidSettingError
from hybridtrain.models.linear import Linear
from hybridtrain.optimizers.parse import Optimizer, parse_optimizer


def split_words(text: str) -> list[str]:
    """Split at commas outside of parentheses.

    Examples
    --------
    >>> split_words("hybrid(hot=0.5, every=64), sync")
    ['hybrid(hot=0.5, every=64)', 'sync']
    """
    words, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            words.append("")
        else:
            words[-1] += letter
    return [word.strip() for word in words if word.strip()]


def make_optimizer(args: argparse.Namespace) -> Optimizer:
    """Return the optimizer of --optimizer with the rate of --lr.

    Raises
    ------
    InvalidSettingError
        When there is no such optimizer, or it has no rate to set.
    """
    optimizer = parse_optimizer(args.optimizer)
    if args.lr == "auto":
        return optimizer
    if "lr" not in {field.name for field in fields(optimizer)}:
        raise InvalidSettingError(f"{args.optimizer} has no learning rate; leave --lr out")
    return replace(optimizer, lr=args.lr)


def make_model(args: argparse.Namespace, loss: str) -> Linear:
    """Return the model with the penalties of the command, and with `loss` unless --loss is given.

    Raises
    ------
    InvalidSettingError
        When a penalty is out of range.
    """
    chosen: Any = args.loss or loss
    return Linear(loss=chosen, l1=args.l1, l2=args.l2 or 0.0)


def choose_model(args: argparse.Namespace, y: Any) -> tuple[Linear, str]:
    """Return the model for these labels, and a text that says why it has its loss."""
    if args.loss is not None:
        return make_model(args, args.loss), f"{args.loss} loss, as asked for"
    loss, reason = choose_loss(y)
    return make_model(args, loss), f"{reason} ({loss} loss; --loss changes it)"


def loss_text(model: Linear) -> str:
    """Return the loss and the penalties of a model.

    Examples
    --------
    >>> loss_text(Linear(l1=0.5, l2=1e-4))
    'logistic loss with l1 0.5 and l2 0.0001'
    """
    penalties = [
        f"{name} {getattr(model, name):g}" for name in ("l1", "l2") if getattr(model, name)
    ]
    return " with ".join([f"{model.loss} loss", *filter(None, [" and ".join(penalties)])])
