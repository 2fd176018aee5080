# SPDX-License-Identifier: BSD-3-Clause
"""A stream among other nodes: its workers train leased chunks, and rest a moment for each merge.

The life of a merge; the job's thread is the one in which `await_rest` waits::

    job     rest: own values, what was done -> Worked     workers train on ...   rest: new values
    loop                                      Collect  SUM -> reducers -> TOTAL  Apply

So workers train while values travel, and nobody waits for another node's rows: a slow node brings
fewer. What a node has trained since its values were taken comes after the rows of the others, and
into the next merge. When an epoch's chunks are all in, the nodes have equal values.

`shared` and `leases` are the loop's. It changes them while it holds `changed`, which the job holds
for each turn: no turn sees half a merge. `own` is the job's until Worked, the loop's until Apply.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from hybridtrain._core.leased import DONE, LeasedStream
from hybridtrain._core.optimizer import contents
from hybridtrain.data.arrays import Floats
from hybridtrain.nodes import events
from hybridtrain.nodes.between import Home
from hybridtrain.nodes.chunks import Chunks, States
from hybridtrain.nodes.compression import coder
from hybridtrain.nodes.leases import LEASES, Leases, count, cut, spans_of
from hybridtrain.nodes.messages import Tally
from hybridtrain.nodes.notes import Note, Span
from hybridtrain.nodes.reducer import Sums
from hybridtrain.nodes.tempo import Tempo
from hybridtrain.nodes.values import Trained, Values, pace_of
from hybridtrain.run.identity import checksum
from hybridtrain.run.snapshot import Snapshot

_GLANCE_SECONDS, _MOMENT_SECONDS = 0.05, 0.002
_SETTLE_SECONDS = 5.0  # for which the end of a run that is lost waits for the job, at most
_NONE = np.empty((0, 0, 0), np.float32)  # a view of a snapshot's arrays would keep them all


class StreamBetween:
    """See `Between`; and what a `LeasedStream` asks in the place of itself.

    Parameters
    ----------
    home : Home
    run : LeasedStream
    plan : StreamPlan
    """

    def __init__(self, home: Home, run: LeasedStream, plan: Any) -> None:
        self._home = home
        self._run = run
        self._me = home.link.incarnation
        self._chunks = Chunks(run)
        self._leases = Leases(run.n_chunks())
        self._n_rows = int(plan.rows.shape[0])
        n, outputs = len(plan.between), run.n_coordinates // len(plan.between)
        self._shape = run.n_arrays, n, outputs
        self._curvature = plan.between if outputs == 1 else np.repeat(plan.between, outputs)
        coders = partial(coder, plan.compress, contents(plan.optimizer.number))
        self._values = Values(
            run, self._curvature, coders, self._rows_so_far, lambda: not self._leases.has_more
        )
        self._spare = np.empty_like(self._values.own)
        self._order = plan.order
        self._story: Snapshot | None = None  # what the job remembers, as of the epoch's beginning
        self._is_taken = False  # `own` is to be merged
        self._is_merged = False  # it was, and the run does not have the result yet
        self._is_replaced = False  # the shared values are another node's
        self._is_over = True  # no epoch is open here
        self._is_stopped = False  # with the run, everywhere
        self._is_called = self._is_ending = False  # the job has a turn next; and keeps it
        self._is_new_epoch = False  # it was opened, and no merge of it begun
        # The run's values and chunks, while the job has the shared ones; and what these are of.
        self._aside: tuple[Floats, States] | None = None
        self._told: dict[str, Any] = {}
        self._offered = (0, -1)  # ballot and number of the merge that the machine knows of
        self._note = Note(who=self._me)
        self._rows_merged = 0  # of the other nodes, in the last merge
        self._tempo = Tempo()
        self._waited = 0.0  # seconds for which the workers had no chunk, since `own` was taken
        run.look(self._order, self._values.shared)
        if run.opened and (saved := home.snapshot()) is not None:
            self.expect(saved)

    def _rows_so_far(self) -> int:
        before = max(self._leases.epoch - 1, 0) * self._n_rows
        return before + self._run.rows_in(self._leases.done)

    # ---- as `Between` ---------------------------------------------------------------------------

    @property
    def sums(self) -> Sums:
        """Where the node adds up its shard."""
        return self._values

    def applied(self) -> int:
        """Return a number that grows with the chunks that the run's state has."""
        if not self._run.opened:
            return 0
        done = np.zeros(len(self._leases.done), np.uint8)
        self._run.chunks(0, done)
        return (self._run.opened - 1) * len(done) + int((done == DONE).sum())

    def expect(self, snapshot: Snapshot) -> None:
        """Have the values and leases with which the run will begin: others' values may be first."""
        self._story = replace(snapshot, arrays=_NONE)
        self._recall(snapshot, Leases.recalled(snapshot))

    def _recall(self, snapshot: Snapshot, leases: Leases) -> None:
        self._leases, n = leases, self._run.n_coordinates
        self._values.shared[:, :n] = snapshot.arrays.reshape(-1, n)

    def begin(self, replacement: Snapshot | None) -> None:
        """Note that the node is a member; the state is that of the run, or another's."""
        if replacement is not None:
            self._home.go_on_from(replacement)
        self._run.between = self
        self._chunks.forget()

    def part(self) -> None:
        """Let the job have the run alone."""
        self._run.between = None
        with self._home.changed:
            self._home.changed.notify_all()

    def redo(self, act: events.Redo, *, is_first: bool) -> None:
        """Merge the same values again, of which nothing has entered."""
        del is_first
        self._offer(act.ballot)

    def collect(self, act: events.Collect) -> None:
        """Hand over the node's values."""
        began, note = time.perf_counter(), self._note
        # Without a row, as in the first merge of a run, there would be no result.
        stops = self._home.stops if note.rows or self._rows_so_far() else 0
        tally = Tally(rows=note.rows, stops=stops, notes=(note,))
        self._home.work.rows_of_step = note.rows
        self._home.note(events.Collected(act.ballot, act.batch, self._values.collected(), tally))
        self._tempo.cost += time.perf_counter() - began

    def apply(self, act: events.Apply) -> None:
        """Take the values of all nodes, and let the workers rest soon to have them."""
        began = time.perf_counter()
        self._home.work.rest()  # what is no wait was work
        with self._home.changed:
            self._leases.settle(act.tally.notes)
            if self._leases.bad_lr is None:
                self._values.take(act.totals)
            self._rows_merged = act.tally.rows - self._note.rows
            if act.tally.stops:
                self._is_stopped = True
                self._home.stop(act.tally.stops)
            self._is_merged = True
            self._home.changed.notify_all()
        self._tempo.cost += time.perf_counter() - began
        if self._tempo.is_due:
            self._run.call()

    def replace(self, snapshot: Snapshot) -> bool:
        """Put another's state in the place of this one, if its epoch is open here as well."""
        with self._home.changed:
            leases = Leases.recalled(snapshot)
            is_late = leases.epoch != self._run.opened or (self._is_over and not leases.is_over)
            if self._run.between is None or is_late:
                return False
            self._recall(snapshot, leases)
            self._is_taken = self._is_merged = False
            self._is_replaced = True
            self._home.changed.notify_all()
        self._run.call()
        return True

    def state(self) -> Snapshot | None:
        """Return the shared values, with all that a run remembers beside them."""
        with self._home.changed:
            story, leases = self._story, self._leases
            if story is not None:
                return replace(
                    story,
                    job={**story.job, LEASES: leases.to_json()},
                    numbers={**story.numbers, "loss": leases.loss, "repeated": leases.repeated},
                    arrays=self._arrays(),
                    done=leases.done.copy(),
                )
        time.sleep(_MOMENT_SECONDS)  # the job has not begun the first epoch yet
        return None

    def digest(self) -> bytes:
        """Return a digest of the shared values."""
        return checksum([self._arrays()], threads=1).encode()

    def _arrays(self) -> Floats:
        """Return a copy of the shared values, as a snapshot has them."""
        return self._values.shared[:, : self._run.n_coordinates].copy().reshape(self._shape)

    def before_end(self) -> None:
        """Wait until the run has the shared values alone, so that the job can save it."""
        self._is_called = self._is_ending = True
        self._run.call()
        deadline = time.monotonic() + _SETTLE_SECONDS
        with self._home.changed:
            while not self._is_settled and time.monotonic() < deadline:
                self._home.changed.wait(_GLANCE_SECONDS)

    @property
    def _is_settled(self) -> bool:
        return self._is_over or self._aside is not None or self._run.between is None

    # ---- as the run, for the job ----------------------------------------------------------------

    def open(self) -> None:
        """Begin an epoch, with values that all nodes share; the workers have no chunk yet."""
        self._is_over, self._is_new_epoch, self._is_called = False, True, self._is_ending

    def _open_epoch(self) -> None:
        self._is_new_epoch = False
        self._chunks.forget()
        story = self._home.snapshot()
        if story is None:
            self._is_over = True
            return self._home.fail_run("the parameters are not finite")
        self._story = replace(story, arrays=_NONE)
        if self._leases.epoch < self._run.opened:  # else they are another node's
            self._leases.begin()

    def resume(self) -> None:
        """Go on with an epoch that was stopped, or saved."""
        if self._is_ending:
            return
        self._is_over = self._is_called = False
        if self._aside is not None:
            values, states = self._aside
            self._run.put(self._order, values, 0)
            self._chunks.restore(states)
            self._aside = None
        self._chunks.wake(self._held)

    def stop(self) -> None:
        """Let the job have the run soon."""
        self._is_called = True

    def await_rest(self, seconds: float) -> bool:
        """Train, merge after merge; return True once the epoch is over or stopped."""
        end = time.monotonic() + seconds
        while True:
            wait = max(0.0, min(end - time.monotonic(), self._tempo.glance))
            if not self._run.await_workers(wait):
                if time.monotonic() >= end:
                    return False
                if self._is_due:
                    self._run.call()
                continue
            self._chunks.rest()
            with self._home.changed:
                if self._home.is_over or self._take_turn():
                    return True
            if time.monotonic() >= end:
                return False

    def report(self, report: dict[str, Any]) -> dict[str, Any]:
        """Return the report of all nodes, in the place of this one's."""
        bad_lr, is_changed = self._leases.bad_lr, self._leases.is_changed
        told = self._told if self._is_over or self._aside is not None else {}
        of_all = {"diverged": bad_lr is not None, "bad_lr": bad_lr, "changed": is_changed}
        return report | told | of_all

    # ---- turns: the workers rest ----------------------------------------------------------------

    @property
    def _is_due(self) -> bool:
        """Whether the workers should rest now."""
        has_news = self._is_merged or self._is_replaced or not self._is_taken
        return self._is_called or (has_news and self._tempo.is_due)

    def _take_turn(self) -> bool:
        """Bring the run and the other nodes together; return whether the job has its turn."""
        if self._aside is not None and not self._is_stopped:
            return True
        began = time.perf_counter()
        if self._is_new_epoch:
            self._open_epoch()
        is_replaced, is_merged = self._is_replaced, self._is_merged
        self._is_replaced = False
        if is_replaced:
            self._put_shared()
        elif is_merged:
            self._put_merged()
        is_new = is_replaced or is_merged or not self._is_taken
        if self._leases.is_over or self._is_stopped:
            if is_new and not self._is_over:
                self._end_epoch()
            return True
        if is_new:
            self._chunks.open(self._held)
            self._take(is_current=is_merged and not is_replaced)
            self._tempo.cost += time.perf_counter() - began
        if self._is_called:
            self._set_aside()
            return True
        self._go_on()
        return False

    def _put_merged(self) -> None:
        """Let the rows since `own` was taken come after those of others; `own` is the result."""
        values, run, now = self._values, self._run, self._spare
        run.look(self._order, now)
        run.merge(
            now,
            values.own,
            values.shared,
            now,
            first=0,
            curvature=self._curvature,
            pace=pace_of(run),
            rows=self._chunks.news().rows,
            others=0,
            epoch_rows=self._rows_so_far(),
        )
        run.put(self._order, now, self._rows_merged)
        self._spare, values.own = values.own, now

    def _put_shared(self) -> None:
        """Let the run have the shared values alone, and the chunks that go with them."""
        self._let_have_shared()
        self._chunks.forget()
        self._note = Note(who=self._me)

    def _let_have_shared(self) -> None:
        of, trained = self._leases, self._run.rows_in(self._leases.done)
        self._run.put(self._order, self._values.shared, 0)
        self._chunks.set_aside([(0, len(of.done))])
        self._chunks.set_done(spans_of(of.done != 0))
        self._told = {"trained": trained, "loss": of.loss, "repeated": of.repeated}

    def _end_epoch(self) -> None:
        self._put_shared()
        self._is_over = True
        self._is_taken = self._is_merged = False

    def _set_aside(self) -> None:
        """Let the job have the shared values, as if nothing had been trained since."""
        values = np.empty_like(self._values.own)
        self._run.look(self._order, values)
        self._aside = values, self._chunks.states()
        self._let_have_shared()
        self._home.changed.notify_all()

    def _take(self, *, is_current: bool) -> None:
        """Take the run's values, and note what was done for them, for the next merge."""
        news = self._chunks.news()
        done, left = self._chunks.done(self._held), self._chunks.left(self._held)
        self._chunks.measure(count(done))
        self._tempo.begin()
        n_chunks, n_nodes = len(self._leases.done), len(self._leases.held)
        need = max(self._run.n_workers, self._tempo.need(n_chunks, self._chunks.pace, n_nodes))
        back: list[Span] = []
        if not self._leases.has_more:
            _, back = cut(left, need)
            self._chunks.set_aside(back)
        if not is_current:
            self._run.look(self._order, self._values.own)
        self._values.trained = Trained(news.rows, pace_of(self._run))
        self._note = Note(self._me, tuple(done), tuple(back), need, *news)
        self._chunks.set_done(spans_of(self._leases.done != 0))  # by others, too
        self._chunks.forget()
        self._is_taken, self._is_merged = True, False
        waited, self._waited = self._waited, 0.0
        self._home.post(lambda: self._home.work.wait(waited))
        self._home.post(lambda: self._offer(self._home.ballot))

    def _offer(self, ballot: int) -> None:
        """Tell the machine that there are values to merge, once; in the loop's thread."""
        merge = ballot, self._leases.merges
        is_whole = self._is_taken and not (self._is_merged or self._is_replaced)
        if is_whole and merge != self._offered:
            self._offered = merge
            self._home.note(events.Worked(*merge))

    def _go_on(self) -> None:
        """Let the workers train what they have; or wait for the next merge."""
        if self._chunks.has_work(self._held):
            self._chunks.wake(self._held)
            return
        self._waited -= time.perf_counter()
        self._home.changed.wait(_GLANCE_SECONDS)
        self._waited += time.perf_counter()

    @property
    def _held(self) -> list[Span]:
        """What is leased to this node."""
        return self._leases.held.get(self._me, [])
