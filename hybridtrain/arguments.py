# SPDX-License-Identifier: BSD-3-Clause
"""Arguments as users give them: numbers, and words with arguments of their own."""

from __future__ import annotations

import ast
import difflib
import keyword
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from hybridtrain.errors import InvalidSettingError

MOST_SEED = (1 << 64) - 1
_LONGEST_TEXT = 100  # of a value in a message
_MOST_LETTERS = 400  # of a text with arguments: nested as deep, it still can be parsed


def nearest(word: Any, names: Iterable[str]) -> str:
    """Return a question that names the nearest word; empty if no word is near.

    Examples
    --------
    >>> nearest("hybird", ["hogwild", "hybrid", "sync"])
    "; did you mean 'hybrid'?"
    """
    if not isinstance(word, str) or len(word) > _MOST_LETTERS:
        return ""
    near = difflib.get_close_matches(word.lower(), list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def is_instance(value: Any, kind: str) -> bool:
    """Return whether a value is of a class that is named in full: nothing is imported for it.

    Examples
    --------
    >>> is_instance({}, "builtins.dict")
    True
    """
    return any(f"{each.__module__}.{each.__qualname__}" == kind for each in type(value).__mro__)


def called(text: str, makers: Mapping[str, Any], expected: str) -> Any:
    """Make what "name" or "name(key=value)" says; only literals are read as values.

    Parameters
    ----------
    text : str
    makers : dict of name to dataclass
        One whose fields need no names is made of values without names.
    expected : str
        The start of the message: what must be what.

    Returns
    -------
    object

    Raises
    ------
    InvalidSettingError
        When the text has another form, a name or key is unknown, or a value is
        refused.
    """
    start = f"{expected}, got {shown(text)}"
    if len(text) > _MOST_LETTERS:
        raise InvalidSettingError(f"{start}: more than {_MOST_LETTERS} letters")
    word = text.partition("(")[0].strip()
    mark = "_" if word in makers and keyword.iskeyword(word) else ""  # "async" is not a name
    source = mark + text.strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a malformed escape in a text
            call = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        hint = _quoted(text, makers) or nearest(text, makers)
        raise InvalidSettingError(start + hint) from error
    called_name = call.func if isinstance(call, ast.Call) else call
    if not isinstance(called_name, ast.Name):
        raise InvalidSettingError(start)
    name = called_name.id.removeprefix(mark)
    if name not in makers:
        raise InvalidSettingError(start + nearest(name, makers))
    given = call.keywords if isinstance(call, ast.Call) else []
    keys = [field.name for field in fields(makers[name])]
    args = call.args if isinstance(call, ast.Call) else []
    are_named = all(field.kw_only for field in fields(makers[name]))
    if are_named and (args or any(pair.arg is None for pair in given)):
        raise InvalidSettingError(f"{start}: arguments have names, such as {keys[0]}=...")
    if not are_named and given:
        raise InvalidSettingError(f"{start}: arguments of {name} have no names")
    for pair in given:
        if pair.arg not in keys:
            raise InvalidSettingError(
                f"{start}: {name} has no {pair.arg!r}, it has {', '.join(keys)}"
                + nearest(pair.arg, keys)
            )
    try:
        hint = _quoted(text, makers)
        values = [_literal(name, value, source, hint) for value in args]
        named = {str(pair.arg): _literal(pair.arg, pair.value, source, hint) for pair in given}
        return makers[name](*values, **named)
    except ValueError as error:
        raise InvalidSettingError(f"{text!r}: {error}") from error


def _quoted(text: str, makers: Mapping[str, Any]) -> str:
    """Return a hint where an argument is the name of a maker without quotes; else nothing."""
    word = rf"(?:{'|'.join(makers)})\b(?:\([^()]*\))?"
    found = re.search(rf"[(,]\s*(\w+\s*=\s*)?({word})\s*[,)]", text)
    return f"; what is within another is in quotes: {found[1] or ''}{found[2]!r}" if found else ""


def _literal(name: str | None, value: ast.expr, text: str, hint: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise InvalidSettingError(
            f"{name} is malformed: expected a number, a text in quotes, True, False, None, or a "
            f"tuple, list or set of such, got {ast.get_source_segment(text, value)}{hint}"
        ) from error


def plain(value: Any) -> Any:
    """Return the Python value of a NumPy scalar; anything else as it is.

    Parameters
    ----------
    value : object

    Returns
    -------
    object
    """
    return value.item() if isinstance(value, np.generic) else value


def shown(value: Any) -> str:
    """Return the text of a value for a message, in one line and not too long.

    Parameters
    ----------
    value : object

    Returns
    -------
    str

    Examples
    --------
    >>> shown("a"), shown(10**5000), len(shown(list(range(10**4))))
    ("'a'", 'a value of type int', 100)
    """
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an int of too many digits, or what a user's own __repr__ raises
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."


def is_finite(number: int | float) -> bool:
    """Whether a number is one of float64: an int may be larger."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def require_int(name: str, value: Any, *, least: int, most: int | None = None) -> int:
    """Return an int that is at least `least`.

    Parameters
    ----------
    name : str
        For the message.
    value : int or NumPy integer
    least : int
    most : int, optional
        None: there is no largest.

    Returns
    -------
    int

    Raises
    ------
    InvalidSettingError
        When the value is no int (a bool is none), or out of range.
    """
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidSettingError(f"{name} must be an int >= {least}, got {shown(value)}")
    if number < least:
        raise InvalidSettingError(f"{name} must be >= {least}, got {shown(number)}")
    if most is not None and number > most:
        raise InvalidSettingError(f"{name} must be at most {most}, got {shown(number)}")
    return number


def require_bool(name: str, value: Any) -> bool:
    """Return a bool.

    Parameters
    ----------
    name : str
        For the message.
    value : bool or NumPy bool

    Returns
    -------
    bool

    Raises
    ------
    InvalidSettingError
        When the value is something else; 0 and 1 are.
    """
    answer = plain(value)
    if not isinstance(answer, bool):
        raise InvalidSettingError(f"{name} must be True or False, got {shown(value)}")
    return answer


def require_positive(name: str, value: Any) -> float:
    """Return a number that is finite and greater than 0.

    Parameters
    ----------
    name : str
        For the message.
    value : float or NumPy number

    Returns
    -------
    float
        An int stays an int.

    Raises
    ------
    InvalidSettingError
        When the value is no number (a bool is none), or out of range.
    """
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise InvalidSettingError(f"{name} must be a number > 0, got {shown(value)}")
    if not (is_finite(number) and number > 0):
        raise InvalidSettingError(f"{name} must be finite and > 0, got {shown(number)}")
    return number
