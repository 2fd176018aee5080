# SPDX-License-Identifier: BSD-3-Clause
"""Switch: one strategy for the first epochs of a run, another one for the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hybridtrain.arguments import plain, require_int, shown
from hybridtrain.errors import InvalidSettingError
from hybridtrain.strategies.base import Epochs, Part, Strategy, is_single, of_part

_EXPECTED = 'a part of Switch must be (strategy, epochs), such as ("sync", 2)'


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Switch:
    """Train the first epochs of a run with one strategy, and the next ones with another.

    The run is one run: the parameters, the state of the optimizer and the average go on, and so
    do the schedule of the rates, the order of the rows, `patience`, `seconds` and checkpoints.
    An automatic rate is chosen for each part, as its strategy alone would have it. A rate that
    the user sets is that of every part.

    Parameters
    ----------
    *given : (strategy, epochs)
        One for each part, in order. The strategy is a word or an object, but no `Switch`.
        epochs is an int of at least 1, or "plateau": until the mean loss of an epoch's rows
        (`EpochRecord.loss`) is not at least 0.1 % below the lowest of the part's earlier
        epochs; such a part has at least two. In the last part it is None: the rest of the run.
        It may be an int if all are, and they add up to the epochs of the run.

    Raises
    ------
    InvalidSettingError
        When a part has another form. An unknown word is refused when a run is planned.

    Notes
    -----
    A switch is made while the workers rest after an epoch. It copies the state once out of the
    segment of one part and once into that of the next. docs/strategies/switch.md says how each
    array of an optimizer is converted where one part steps on rows and the other one on batches.

    References
    ----------
    Lin, Stich, Patel and Jaggi 2020, "Don't use large mini-batches, use local SGD",
    arXiv:1808.07217: synchronous steps first, then looser ones.
    """

    given: tuple[tuple[str | Strategy, Epochs], ...]

    def __init__(self, *given: tuple[str | Strategy, Epochs]) -> None:
        if not given:
            raise InvalidSettingError(f"{_EXPECTED}, got no part")
        last = len(given) - 1
        parts = tuple(_checked(part, is_last=k == last) for k, part in enumerate(given))
        if isinstance(parts[-1][1], int) and any(epochs == "plateau" for _, epochs in parts):
            raise InvalidSettingError(
                'the last part of Switch must have None epochs (the rest) after a part of "plateau"'
                f", got {parts[-1][1]}"
            )
        object.__setattr__(self, "given", parts)

    def __repr__(self) -> str:
        return f"Switch({', '.join(map(repr, self.given))})"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts, whose words are parsed."""
        return tuple(Part(_single(strategy), epochs) for strategy, epochs in self.given)

    def parsed(self, parse: Callable[[str | Strategy], Strategy]) -> Switch:
        """Return the same schedule with a strategy in place of each word.

        Raises
        ------
        InvalidSettingError
            When `parse` raises it, or a part is a schedule itself.
        """
        given: list[tuple[Strategy, Epochs]] = []
        for k, (strategy, epochs) in enumerate(self.given):
            with of_part(f"part {k + 1} of Switch"):
                part = parse(strategy)
            given.append((_single(part), epochs))
        return self if given == list(self.given) else Switch(*given)

    def same_bits(self, workers: int) -> bool:
        """Return whether all parts promise it."""
        return all(part.strategy.same_bits(workers) for part in self.parts)

    @property
    def spans_nodes(self) -> bool:
        """Whether nodes can train together: if they can in each part."""
        return all(part.strategy.spans_nodes for part in self.parts)

    @property
    def same_bits_for_any_workers(self) -> bool:
        """Whether all parts promise it."""
        return all(part.strategy.same_bits_for_any_workers for part in self.parts)

    def describe(self, settings: Mapping[str, Any]) -> list[str]:
        """Return for each part that was trained its epochs, and what its strategy says."""
        texts = []
        for part, told in zip(self.parts, settings.get("parts", []), strict=False):
            first, last = told["epochs"]
            when = f"epoch {first}" if first == last else f"epochs {first} to {last}"
            details = ", ".join(part.strategy.describe(told))
            name = type(part.strategy).__name__
            texts.append(f"{when} {name} ({details})" if details else f"{when} {name}")
        return texts


def _checked(part: Any, *, is_last: bool) -> tuple[str | Strategy, Epochs]:
    if not (isinstance(part, tuple | list) and len(part) == 2):
        raise InvalidSettingError(f"{_EXPECTED}, got {shown(part)}")
    strategy, epochs = part[0], plain(part[1])
    if epochs is None and is_last:
        return strategy, None
    if isinstance(epochs, str) and epochs == "plateau" and not is_last:
        return strategy, "plateau"
    if epochs is None or isinstance(epochs, str):
        expected = (
            "None (the rest of the run) or an int in the last part"
            if is_last
            else 'an int or "plateau" in a part that another one follows'
        )
        raise InvalidSettingError(f"epochs of Switch must be {expected}, got {shown(epochs)}")
    return strategy, require_int("epochs of a part of Switch", epochs, least=1)


def _single(strategy: str | Strategy) -> Any:
    if is_single(strategy):
        return strategy
    raise InvalidSettingError(
        f"a part of Switch must be a strategy that trains by itself, got {shown(strategy)}"
    )
