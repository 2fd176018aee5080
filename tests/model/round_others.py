# SPDX-License-Identifier: BSD-3-Clause
"""What happens to a round besides its workers' steps.

Guests, who grows the pool, the kernel that stops and kills, the supervisor that replaces.
"""

from __future__ import annotations

from model.explore import Edge, ProtocolError, replaced
from model.round_state import (
    BAD,
    NOWHERE,
    Block,
    Edges,
    Guest,
    Self,
    Setting,
    State,
    is_right_sum,
    moved,
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
    is_last = state.lives.count("alive") < 2 and state.respawns == 0
    if state.kills == 0 or is_last:
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
    lives, deaths = replaced(state.lives, w, "dead"), replaced(state.deaths, w, state.phase.step)
    yield Edge("declare dead", state._replace(lives=lives, deaths=deaths))


def respawn(state: State, w: int) -> Edges:
    if state.respawns == 0:
        return
    place = moved(state, w, Self("looked", state.phase))
    lives = replaced(state.lives, w, "alive")
    yield Edge("respawn", place._replace(lives=lives, respawns=state.respawns - 1))


def let_go_on(setting: Setting, state: State) -> Edges:
    """ht_sync_revive, when all living workers are barred; at once, since nobody else acts."""
    step = state.phase.step
    barred = [w for w, life in enumerate(state.lives) if life != "dead"]
    if not barred or setting.flaw == "no revive":
        return
    if any(state.deaths[w] < step or state.lives[w] != "alive" for w in barred):
        return
    if state.phase.phase == "MERGE" and setting.flaw != "no orphan":
        for b, block in enumerate(state.blocks):
            if block.step != step or block.state != "COMMITTED":
                continue
            of, version = state.redos[block.redo]
            copied = version if of == b else BAD
            params = replaced(state.params, b, (copied, copied))
            blocks = replaced(state.blocks, b, Block(step, "DONE", 0, 0))
            state = state._replace(params=params, blocks=blocks)
    w, word = barred[0], state.workers[barred[0]]
    if state.phase.phase == "WORK" and word.step == step and setting.flaw != "kept sums":
        state = state._replace(workers=replaced(state.workers, w, word._replace(revoked=True)))
    yield Edge("let go on", state._replace(deaths=replaced(state.deaths, w, step - 1)))
