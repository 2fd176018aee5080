# SPDX-License-Identifier: BSD-3-Clause
"""What coders leave out comes later, and no body from whomever is taken for another."""

from __future__ import annotations

import numpy as np
import pytest

from hybridtrain._core.leased import UNIT
from hybridtrain.nodes.compression import CODED, WHOLE, coder

CONTENTS = ("w", "sum of squares")
N = 1000
WORDS = [None, "int8", "top_k(0.1)"]


def _arrays(rng: np.random.Generator) -> np.ndarray:
    values = np.zeros((2, -(-N // UNIT) * UNIT), np.float32)
    values[:, :N] = rng.standard_normal((2, N))
    values[1] = np.square(values[1])
    return values


@pytest.mark.parametrize("word", WORDS)
def test_whole_values_arrive_with_all_bits(word: str | None) -> None:
    rng = np.random.default_rng(0)
    values, base = _arrays(rng), _arrays(rng)
    encoding, body = coder(word, CONTENTS).encode(values, base, 0, N, is_whole=True)
    coder(word, CONTENTS).decode(encoding, memoryview(body), base, 0, N)
    assert encoding == WHOLE
    np.testing.assert_array_equal(base[:, :N], values[:, :N])


@pytest.mark.parametrize(("word", "most"), [("int8", 0.3), ("top_k(0.1)", 0.2)])
def test_a_coded_body_is_short(word: str, most: float) -> None:
    rng = np.random.default_rng(0)
    encoding, body = coder(word, CONTENTS).encode(_arrays(rng), _arrays(rng), 0, N, is_whole=False)
    assert encoding == CODED
    assert len(body) < most * 2 * N * 4


@pytest.mark.parametrize("word", WORDS[1:])
def test_what_is_left_out_comes_with_the_next_ones(word: str) -> None:
    rng = np.random.default_rng(0)
    wanted, base = _arrays(rng), _arrays(rng)
    one, values = coder(word, CONTENTS), wanted
    for _ in range(40):
        encoding, body = one.encode(values, base, 0, N, is_whole=False)
        one.commit()
        one.decode(encoding, memoryview(body), base, 0, N)
        values = base.copy()  # the change was made once
    np.testing.assert_allclose(base[:, :N], wanted[:, :N], atol=1e-3)


@pytest.mark.parametrize("word", WORDS[1:])
def test_what_was_not_received_is_encoded_again(word: str) -> None:
    rng = np.random.default_rng(0)
    values, base = _arrays(rng), _arrays(rng)
    one = coder(word, CONTENTS)
    first = one.encode(values, base, 0, N, is_whole=False)
    assert one.encode(values, base, 0, N, is_whole=False) == first
    one.commit()
    assert one.encode(values, base, 0, N, is_whole=False) != first


@pytest.mark.parametrize("word", WORDS[1:])
def test_squares_stay_positive(word: str) -> None:
    rng = np.random.default_rng(1)
    base = _arrays(rng)
    values = base.copy()
    values[1] *= np.float32(0.001)
    one = coder(word, CONTENTS)
    for _ in range(5):
        encoding, body = one.encode(values, base, 0, N, is_whole=False)
        one.commit()
        one.decode(encoding, memoryview(body), base, 0, N)
        assert (base[1] >= 0).all()


@pytest.mark.parametrize("word", WORDS)
def test_bodies_from_whomever_are_refused_and_change_nothing(word: str | None) -> None:
    rng = np.random.default_rng(2)
    values, base = _arrays(rng), _arrays(rng)
    encoding, body = coder(word, CONTENTS).encode(values, base, 0, N, is_whole=False)
    before = base.copy()
    broken = [
        (encoding, body[:-1]),
        (encoding, body + b"\0"),
        (encoding, b""),
        (2, body),
        (encoding, bytes(255 for _ in body)),
    ]
    for number, content in broken:
        with pytest.raises(ValueError, match=r"\d"):
            coder(word, CONTENTS).decode(number, memoryview(content), base, 0, N)
        np.testing.assert_array_equal(base, before)


def test_no_coordinates_have_a_body_too() -> None:
    none = np.zeros((2, 0), np.float32)
    for word in WORDS:
        encoding, body = coder(word, CONTENTS).encode(none, none, 0, 0, is_whole=False)
        coder(word, CONTENTS).decode(encoding, memoryview(body), none, 0, 0)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_arrive_as_they_are(word: str | None, bad: float) -> None:
    rng = np.random.default_rng(0)
    values, base = _arrays(rng), _arrays(rng)
    values[0, 3] = bad
    encoding, body = coder(word, CONTENTS).encode(values, base, 0, N, is_whole=False)
    coder(word, CONTENTS).decode(encoding, memoryview(body), base, 0, N)
    np.testing.assert_array_equal(base[:, :N], values[:, :N])
