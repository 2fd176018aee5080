# SPDX-License-Identifier: BSD-3-Clause
"""Reference of ht_random.c and ht_feed.c: which rows an epoch trains, in which order."""

from __future__ import annotations

import functools

_MASK = (1 << 64) - 1
_CHUNK_ROWS = 512
_LEAST_STRIPS = 512
_ROUNDS = 4


def random_u64(key: int, counter: int) -> int:
    """Return SplitMix64's finaliser of key + (counter + 1) golden ratios."""
    x = (key + (counter + 1) * 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def permute(key: int, n: int, i: int) -> int:
    """Return the image of i under a Feistel permutation of 0..n-1, by cycle walking."""
    if n < 2:
        return i
    half = 1
    while half < 31 and 1 << (2 * half) < n:
        half += 1
    mask = (1 << half) - 1
    while True:
        left, right = i >> half, i & mask
        for round_ in range(_ROUNDS):
            left, right = right, left ^ (random_u64(key + round_, right) & mask)
        i = left << half | right
        if i < n:
            return i


@functools.cache
def chunks(n_rows: int, seed: int, epoch: int, strips: int) -> list[list[int]]:
    """Return the rows of every chunk of an epoch (1, 2, ...), in order of training."""
    strip_rows = min(max(n_rows // _LEAST_STRIPS, 1), _CHUNK_ROWS // strips)
    n_strips = -(-n_rows // strip_rows)
    key = random_u64(seed, epoch)
    found = []
    for first in range(0, n_strips, strips):
        places = [permute(key, n_strips, i) for i in range(first, min(first + strips, n_strips))]
        pieces = [
            range(place * strip_rows, min((place + 1) * strip_rows, n_rows)) for place in places
        ]
        found.append([piece[i] for i in range(strip_rows) for piece in pieces if i < len(piece)])
    return found
