# SPDX-License-Identifier: BSD-3-Clause
"""Who takes part in a run on several machines, and what they agree on.

The machines (`Driver`, `Node`, `Reducer`) are pure: an event goes in, acts come out. They hold no
socket, no clock and no thread, so that a simulator and a run on real machines use the same code.
`events` lists what their shell tells them, and what it does for them. Frames that `wire.decode`
refuses are dropped and counted by the shell.
"""
