# SPDX-License-Identifier: BSD-3-Clause
"""What happens to a round besides its workers' steps.

Guests, who grows the pool, the kernel that stops and kills, the supervisor.
"""

from __future__ import annotations

from model.round_state import (
    NOWHERE,
    Edge,
    Edges,
    Guest,
    ProtocolError,
    Setting,
    State,
    is_right_sum,
    moved,
    replaced,
)


def guest_adds(setting: Setting, state: State, g: int) -> Edges:
    """ht_round_guest_added in three parts: look, note the step, look at all guests."""
    guest = state.guests[g]
    if guest.at == "away":
        if state.phase.phase == "EXCHANGE" and guest.word != state.phase.step:
            if not is_right_sum(setting, state, state.phase):
                raise ProtocolError("a wrong sum is exchanged")
            on = Guest(guest.word, "adding", state.phase.step)
            yield Edge("guest looks", state._replace(guests=replaced(state.guests, g, on)))
    elif guest.at == "adding":
        on = Guest(guest.step, "added", guest.step)
        yield Edge("guest adds", state._replace(guests=replaced(state.guests, g, on)))
    else:
        guests = replaced(state.guests, g, Guest(guest.word, "away", 0))
        is_last = all(other.word == guest.step for other in state.guests)
        if is_last and state.phase[:2] == (guest.step, "EXCHANGE"):
            state = state._replace(phase=state.phase._replace(phase="MERGE"))
        yield Edge("guest leaves", state._replace(guests=guests))


def grow(state: State) -> Edges:
    if state.grows == 0 or state.phase.phase != "WORK":
        return
    phase = state.phase._replace(n_tasks=state.phase.n_tasks + 1)
    yield Edge("grow", state._replace(phase=phase, grows=state.grows - 1), is_fault=True)


def kill(state: State, w: int) -> Edges:
    if state.kills == 0 or state.lives.count("alive") < 2:
        return
    killed = moved(state, w, NOWHERE)._replace(
        lives=replaced(state.lives, w, "killed"), kills=state.kills - 1
    )
    yield Edge("kill", killed, is_fault=True)


def stop(state: State, w: int) -> Edges:
    is_copying = state.selves[w].at in ("copying", "copied")
    if state.stops == 0 or is_copying or state.lives.count("alive") < 2:
        return
    stopped = moved(state, w, NOWHERE)._replace(
        lives=replaced(state.lives, w, "stopped"), stops=state.stops - 1
    )
    yield Edge("stop", stopped, is_fault=True)


def declare_dead(state: State, w: int) -> Edges:
    yield Edge("declare dead", state._replace(lives=replaced(state.lives, w, "dead")))
