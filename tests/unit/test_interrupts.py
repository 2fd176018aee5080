# SPDX-License-Identifier: BSD-3-Clause
"""Signals that are held, let through, shared between blocks, and left to the user's handlers."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hybridtrain.interrupts import Interrupts
from hybridtrain.quiet import ENDING


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    """Begin and end with the handlers that Python and the system have."""
    before = {number: signal.getsignal(number) for number in ENDING}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in ENDING[1:]:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_held_signal_is_noted_and_raised_where_the_program_looks() -> None:
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert interrupts.is_noted
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        interrupts.check()  # once
        assert interrupts.number == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_ends_a_function_that_it_is_let_through_to() -> None:
    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")

    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            interrupts.through(work)
        signal.raise_signal(signal.SIGINT)  # held again
        assert interrupts.take()
        assert interrupts.through(lambda x: x + 1, 2) == 3


def test_a_noted_signal_ends_a_function_before_it_begins() -> None:
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.through(pytest.fail, "it began")


@pytest.mark.parametrize("number", ENDING)
def test_every_signal_that_is_asked_for_is_held(number: int) -> None:
    with Interrupts(*ENDING) as interrupts:
        signal.raise_signal(number)
        assert (interrupts.take(), interrupts.number) == (True, number)
    assert signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL)


@pytest.mark.parametrize("keeps", [False, True])
def test_a_block_within_another_shares_it(keeps: bool) -> None:
    with Interrupts(*ENDING) as outer:
        outer.release()
        outer.keeps_results = keeps
        with Interrupts() as inner:
            assert inner is outer
            signal.raise_signal(signal.SIGTERM)
        assert outer.is_noted
        if keeps:  # the result of the inner block is to be saved first
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                outer.release()
        else:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)


def test_handlers_of_the_user_stay() -> None:
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    with Interrupts(*ENDING) as interrupts:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGHUP)
        assert not interrupts.is_noted
    assert came == [signal.SIGINT]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_handler_that_the_block_sets_stays() -> None:
    def own(number: int, frame: Any) -> None:
        pass

    with Interrupts():
        signal.signal(signal.SIGINT, own)
    assert signal.getsignal(signal.SIGINT) is own


def test_other_threads_leave_the_handlers_alone() -> None:
    found: list[Any] = []

    def work() -> None:
        with Interrupts(*ENDING) as interrupts:
            found.append(signal.getsignal(signal.SIGINT))
            found.append(interrupts.through(lambda: "done"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler, "done"]


@pytest.mark.parametrize(
    ("name", "is_quiet"), [("/usr/bin/hybridtrain", True), ("/home/me/hybridtrain.py", False)]
)
def test_only_the_command_line_ends_quietly_while_it_is_imported(name: str, is_quiet: bool) -> None:
    code = (
        f"import sys, signal; sys.argv = [{name!r}]\n"
        "from hybridtrain.quiet import quiet_command\n"
        "signal.raise_signal(signal.SIGINT)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode == 130) == is_quiet
    assert ("Traceback" not in done.stderr) == is_quiet


@pytest.mark.parametrize("call", [1, 2, 3, 4])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_handlers_change_is_seen_and_leaves_none_behind(
    call: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    really, calls = signal.signal, []

    def change(which: int, handler: Any) -> Any:
        before = really(which, handler)
        calls.append(which)
        if len(calls) == call:
            signal.raise_signal(number)
        return before

    def hold() -> None:
        with Interrupts() as interrupts:
            pass
        interrupts.settle()

    monkeypatch.setattr(signal, "signal", change)
    with pytest.raises(KeyboardInterrupt):
        hold()
    assert len(calls) >= call
    for each in (signal.SIGINT, signal.SIGTERM):
        assert signal.getsignal(each) is signal.default_int_handler
