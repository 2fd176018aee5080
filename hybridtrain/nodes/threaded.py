# SPDX-License-Identifier: BSD-3-Clause
"""A node's loop in a thread of its own, and how other threads of the process talk to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from hybridtrain.errors import NodesLostError
from hybridtrain.nodes import events, messages
from hybridtrain.nodes.loop import Loop
from hybridtrain.transport.link import Link

GLANCE_SECONDS = 0.2  # between two looks at what another thread may have changed


class ThreadedLoop(Loop):
    """Turn a node's loop in a thread until its run ends.

    Parameters
    ----------
    link : Link
        Connected to the driver.
    driver : int
        Its incarnation.
    timeout : float
        Seconds for which a silent driver is waited for.

    Notes
    -----
    **Thread safety.** `serve`, `fail` and `close` are for the thread that owns the object.
    """

    def __init__(self, link: Link, driver: int, timeout: float) -> None:
        super().__init__(link, timeout, timeout)
        self._driver = driver
        self._end: events.End | None = None
        self._is_parting = False
        self.changed = threading.Condition()
        self._threads: list[threading.Thread] = []  # the loop's is the first
        self.watch(driver)

    def serve(self) -> None:
        """Start the loop; `join` does so, unless it was done before."""
        if not self._threads:
            self._start(self._serve, "loop")

    def close(self) -> None:
        """End the threads and the link; what was sent before is given a moment to leave."""
        self._end = self._end or events.End("failed", "closed")
        self._is_parting = True
        self.link.wake()
        for thread in self._threads:
            thread.join()
        while self._posted:  # what came too late for the loop
            self._posted.popleft()()
        self.link.flush(self._beat)
        self.link.close()

    def fail(self, error: BaseException) -> None:
        """Tell the driver why this node cannot begin, or go on."""
        self.serve()
        self._call(lambda: self.send(self._driver, _failed(error)))

    def _call(self, function: Callable[[], None]) -> None:
        """Let the loop's thread call a function, and wait; or call it, if that thread is over."""
        is_called = threading.Event()

        def call() -> None:
            function()
            is_called.set()

        self.post(call)
        while any(each.is_alive() for each in self._threads[:1]):
            if is_called.wait(GLANCE_SECONDS):
                return
        function()

    def _start(self, work: Any, name: str) -> None:
        thread = threading.Thread(target=work, name=f"hybridtrain-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _await(self, is_so: Any) -> None:
        with self.changed:
            while not is_so() and self._end is None:
                self.changed.wait(GLANCE_SECONDS)
        if self._end is not None:
            raise NodesLostError(self._end.reason)

    def _serve(self) -> None:
        try:
            while self._end is None:
                self.turn(GLANCE_SECONDS)
        except BaseException as error:
            self._end = events.End("failed", f"{type(error).__name__}: {error}")
            self.send(self._driver, _failed(error))
            raise
        finally:
            with self.changed:
                self.changed.notify_all()

    def before_end(self) -> None:
        """Finish what is under way; subclasses know of what."""

    def _finish_with(self, end: events.End) -> None:
        self.before_end()
        with self.changed:
            self._end = self._end or end
            self.changed.notify_all()


def _failed(error: BaseException) -> messages.Failed:
    text = str(error).encode("utf-8", "backslashreplace").decode()
    return messages.Failed(error=type(error).__name__, text=text[:4096])
