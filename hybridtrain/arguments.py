# SPDX-License-Identifier: BSD-3-Clause
"""Arguments as users give them: numbers, and words with arguments of their own."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hybridtrain.errors import InvalidSettingError


def called(text: str, makers: Mapping[str, Any]) -> Any:
    """Make what "name" or "name(key=value)" says; only literals are read as values.

    Parameters
    ----------
    text : str
    makers : dict of name to callable

    Returns
    -------
    object or None
        None when the text has another form, or a name or key is unknown.

    Raises
    ------
    InvalidSettingError
        When a value is refused.
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if isinstance(call, ast.Name):
            return makers[call.id]()
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            return None
        arguments = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        return makers[call.func.id](**arguments)
    except (KeyError, SyntaxError, TypeError):
        return None
    except ValueError as error:
        raise InvalidSettingError(f"{text!r}: {error}") from error


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


def require_int(name: str, value: Any, *, least: int) -> int:
    """Return an int that is at least `least`.

    Parameters
    ----------
    name : str
        For the message.
    value : int or NumPy integer
    least : int

    Returns
    -------
    int

    Raises
    ------
    InvalidSettingError
        When the value is no int (a bool is none), or too small.
    """
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidSettingError(f"{name} must be an int >= {least}, got {value!r}")
    if number < least:
        raise InvalidSettingError(f"{name} must be >= {least}, got {number}")
    return number


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
        raise InvalidSettingError(f"{name} must be a number > 0, got {value!r}")
    if not (math.isfinite(number) and number > 0):
        raise InvalidSettingError(f"{name} must be finite and > 0, got {number}")
    return number
