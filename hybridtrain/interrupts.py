# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C and similar signals: noted where a result could be lost, raised elsewhere.

A KeyboardInterrupt may come between any two bytecodes, also between two that
belong together. While `Interrupts` holds the signals, no KeyboardInterrupt comes: the
signal is noted, and acted on where the state of the program is consistent.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from hybridtrain.quiet import ENDING, exit_quietly

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Interrupted(KeyboardInterrupt):
    """A signal asked for an end.

    Python itself ends a process by SIGINT once a plain KeyboardInterrupt has left an
    exec() of text, as in dataclasses, even if it was handled after that.
    """


class Interrupts:
    """Note the signals that ask for an end within a ``with`` block; raise them on request.

    Parameters
    ----------
    *numbers : int
        Further signals to note, if their handler is the system's, which ends the process.

    Attributes
    ----------
    number : int
        The latest signal; 0: none.
    n_raised : int
        How often a signal was raised. C code that the exception passes through, such as
        that of an import, may turn it into another exception.
    keeps_results : bool
        Whether signals stay held at the end of an inner block, so that a result can
        be saved first.

    Notes
    -----
    A signal is noted only if its handler is Python's, which raises KeyboardInterrupt, or,
    for the signals in `numbers`, the system's. Handlers of the user stay in place. An inner
    block shares the object of the outer block; ``with`` returns that object.

    **Thread safety.** Python handles signals in the main thread. In another thread the block
    changes no handler, so no signal is noted there.
    """

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers
        self._handlers: dict[int, Any] = {}
        self._outer: Interrupts | None = None
        self._raised_before = False
        self._raises = False
        self.is_noted = False
        self.keeps_results = False
        self.number = 0
        self.n_raised = 0

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is not threading.main_thread():
            return self
        found = [signal.getsignal(number) for number in ENDING]
        self._outer = next((each for each in found if isinstance(each, Interrupts)), None)
        if self._outer is not None:
            self._raised_before, self._outer._raises = self._outer._raises, False
            return self._outer
        try:
            for number, handler in zip(ENDING, found, strict=True):
                is_asked = number in self._numbers and handler is signal.SIG_DFL
                if is_asked or handler in (signal.default_int_handler, exit_quietly):
                    self._handlers[number] = handler
                    signal.signal(number, self)
        except BaseException:  # of a signal whose handler was still the old one
            self._restore()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        outer = self._outer
        if outer is not None and not outer.keeps_results:
            outer._raises = self._raised_before
        self._restore()
        if outer is None:
            self._raises = True  # as signals do outside of the block

    def _restore(self) -> None:
        """Give all signals their handlers back, even if one of these raises meanwhile."""
        raised: BaseException | None = None
        left = list(self._handlers.items())
        while left:
            try:
                number, handler = left[-1]
                if signal.getsignal(number) is self:
                    signal.signal(number, handler)
                left.pop()
            except BaseException as error:
                raised = error
        if raised is not None:
            raise raised

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: raise KeyboardInterrupt once, and note later signals."""
        del frame
        self.number = number
        if self._raises:
            self._raises = False
            self.n_raised += 1
            raise Interrupted
        self.is_noted = True

    @property
    def ends_process(self) -> bool:
        """Whether the latest signal would have ended the process, had this block not noted it."""
        return self._handlers.get(self.number) is signal.SIG_DFL

    def hold(self) -> None:
        """Note signals from now on."""
        self._raises = False

    def release(self) -> None:
        """Raise the noted signal, and signals from now on."""
        self._raises = True
        self.check()

    def note(self) -> None:
        """Note an interrupt that is no signal; of any thread."""
        self.is_noted = True

    def take(self) -> bool:
        """Return whether a signal was noted, and forget it."""
        was_noted, self.is_noted = self.is_noted, False
        return was_noted

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal was noted."""
        if self.take():
            raise Interrupted

    def settle(self) -> None:
        """Raise the signal that an inner block noted, unless the outer block holds signals."""
        if self._raises:
            self.check()

    def through(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function that a signal may end, while signals are otherwise held."""
        n_raised = self.n_raised
        try:
            self._raises = True
            self.check()
            return function(*args, **kwargs)
        except Exception as error:
            if self.n_raised > n_raised:
                raise Interrupted from error
            raise
        finally:
            self._raises = False
