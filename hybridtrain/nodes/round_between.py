# SPDX-License-Identifier: BSD-3-Clause
"""A synchronous run among other nodes: sums out of each step, totals into it.

One more thread waits for the run's exchanges, and posts what it finds to the loop's.
"""

from __future__ import annotations

import time
from typing import Any

from hybridtrain.nodes import events
from hybridtrain.nodes.between import STOPPED, Home
from hybridtrain.nodes.exchange import Exchange, digest_of_state, replace
from hybridtrain.nodes.messages import Stops
from hybridtrain.nodes.reducer import Sums
from hybridtrain.nodes.threaded import GLANCE_SECONDS
from hybridtrain.plan.base import Plan
from hybridtrain.run.snapshot import Snapshot, take

_MERGE_SECONDS = 0.0005  # between two looks at a merge that must be over


class RoundBetween:
    """See `Between`.

    Parameters
    ----------
    home : Home
    run : SyncRun
    plan : Plan
    """

    def __init__(self, home: Home, run: Any, plan: Plan) -> None:
        self._home = home
        self._run, self._plan = run, plan
        self._exchange = Exchange(run)
        self._share = (0, 0)
        self._is_waiting = False  # the step in hand is in its exchange
        self._is_void = False  # a `Redo` has come since it was begun
        self._replacement: Snapshot | None = None  # another node's state
        self._is_begun = self._is_parting = False

    @property
    def sums(self) -> Sums:
        """Where the node adds up its shard."""
        return self._exchange

    def applied(self) -> int:
        """Return how many steps the state that the run begins with has."""
        return self._exchange.guest.applied()

    def expect(self, snapshot: Snapshot) -> None:
        """Do nothing: sums of other nodes are of no state."""

    def begin(self, replacement: Snapshot | None) -> None:
        """Note that the node is a member, and wait for exchanges from now on."""
        if replacement is not None:
            self._home.go_on_from(replacement)
        self._is_begun = True
        self._home.start(self._await_exchanges, "exchanges")

    def part(self) -> None:
        """Wait for no further exchange."""
        self._is_parting = True

    def _await_exchanges(self) -> None:
        guest, step = self._exchange.guest, 0
        while not (self._is_parting or self._home.is_over):
            found = guest.await_exchange(step, GLANCE_SECONDS)
            if found is None:
                break
            if found != step:
                self._home.post(self._note_exchange)
            step = found

    # ---- the loop's thread ----------------------------------------------------------------------

    def _note_exchange(self) -> None:
        """Note that the step in hand is in its exchange."""
        if self._is_parting:
            return
        self._is_waiting = True
        self._home.work.rest()
        if self._is_void:
            self._repeat()
        else:
            self._home.note(events.Worked(self._home.ballot, self._exchange.guest.applied()))

    def redo(self, act: events.Redo, *, is_first: bool) -> None:
        """Let the step in hand be done again with another share."""
        self._share = act.first, act.last
        if is_first:
            self._exchange.guest.set_share(*self._share)
            return
        self._is_void = True
        if self._is_waiting:
            self._repeat()

    def _repeat(self) -> None:
        """Let the step in hand be done again, or be replaced by another node's."""
        if self._replacement is not None:
            if stopped := self._replacement.job.get(STOPPED):
                self._stop(stopped)
            replace(self._run, self._replacement, self._share)
            self._replacement = None
        else:
            self._exchange.guest.repeat(*self._share)
        self._is_void = self._is_waiting = False
        self._home.work.go_on(is_step=False)

    def collect(self, act: events.Collect) -> None:
        """Hand over the sums of the step in its exchange."""
        if self._is_waiting:
            bodies = self._exchange.collected()
            total = self._exchange.tally(self._home.stops)
            self._home.work.rows_of_step = total.rows
            self._home.note(events.Collected(act.ballot, act.batch, bodies, total))

    def apply(self, act: events.Apply) -> None:
        """Open the merge of all nodes' sums."""
        if act.tally.stops:
            self._stop(act.tally.stops)
        self._exchange.merge(act.totals, act.tally)
        self._is_waiting = False

    def _stop(self, why: Stops) -> None:
        """Make this step the last one; every node does."""
        self._home.stop(why)
        self._run.stop_epoch()

    def replace(self, snapshot: Snapshot) -> bool:
        """Keep another's state for the next `redo`; its job cannot pass over an epoch's end."""
        self._replacement = snapshot
        end: int = self._run.opened * self._run.steps_per_epoch()
        return self._is_begun and int(snapshot.numbers["batches"]) <= end

    def state(self) -> Snapshot | None:
        """Return the state of the run, once no merge is under way."""
        self.before_end()
        if self._run.await_rest(0.0):
            # The job is noting an epoch, and does not wait for this: later.
            time.sleep(_MERGE_SECONDS)
            return None
        snapshot = self._home.snapshot()
        if snapshot is None:
            self._home.fail_run("the parameters are not finite")
        return snapshot

    def digest(self) -> bytes:
        """Return a digest of the state's arrays that the node has, or will have."""
        if self._replacement is not None:
            return digest_of_state(self._replacement)
        self.before_end()
        return digest_of_state(take(self._run, self._plan, {}, {}, None))

    def before_end(self) -> None:
        """Wait until no merge is under way: none begins without this thread."""
        while self._exchange.guest.is_merging():
            time.sleep(_MERGE_SECONDS)
