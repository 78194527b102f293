"""Texts of the command line: `NAME=VALUE`, numbers, and the option that is to blame."""

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = [
    "about",
    "file_name",
    "number",
    "pairs",
    "regex",
    "rules",
    "suggestion",
    "value",
]

_WORDS = {"true": True, "false": False, "none": None}
_LARGEST = float.fromhex("0x1.fffffep127")
_SMALLEST = 2.0**-126
"""The largest number of float32, and the smallest that is not rounded to 0."""


@contextmanager
def about(option: str) -> Iterator[None]:
    """Puts the option's name in front of what a ValueError or TypeError says.

    >>> with about("--prune.rules"):
    ...     pairs(["conv1"])
    Traceback (most recent call last):
    ValueError: --prune.rules: 'conv1' must be NAME=VALUE
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ValueError(f"{option}: {error}") from None


def pairs(texts: Sequence[str], *, last: bool = False) -> list[tuple[str, str]]:
    """Texts `NAME=VALUE` as names and values.

    Args:
      texts: the texts.
      last: whether the last `=` of a text is the one that separates, as where the name
        is a regex; otherwise the first.

    Raises:
      ValueError: a text without `=`.

    >>> pairs(["relu1=2", "output=^a=b$"])
    [('relu1', '2'), ('output', '^a=b$')]
    >>> pairs(["(?=conv)=true"], last=True)
    [('(?=conv)', 'true')]
    """
    for text in texts:
        if "=" not in text:
            raise ValueError(f"{text!r} must be NAME=VALUE")
    split = str.rpartition if last else str.partition
    return [(name, value) for name, _, value in (split(text, "=") for text in texts)]


def number(text: str) -> float:
    """The finite number in a text.

    Raises:
      ValueError: it is no number, or float32 has no such number.

    >>> number("1e-3")
    0.001
    """
    try:
        found = float(text)
    except ValueError:
        raise ValueError(f"{text!r} must be a number") from None
    if found != 0 and not _SMALLEST <= abs(found) <= _LARGEST:
        raise ValueError(f"{text!r} must be a finite number that float32 has")
    return found


def regex(text: str) -> str:
    """The text, if it is a regular expression.

    Raises:
      ValueError: it is none.

    >>> regex("conv(")
    Traceback (most recent call last):
    ValueError: 'conv(' is not a regular expression: missing ), unterminated ...
    """
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    return text


def suggestion(text: str, known: Sequence[str]) -> str:
    """The end of a message: the known word that looks most like a text, if any.

    This is `dst_jax.checks.suggestion` for what is read before JAX is imported.

    >>> suggestion("pretrian", ["pretrain"])
    "; did you mean 'pretrain'?"
    """
    close = difflib.get_close_matches(text, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def value(text: str) -> Any:
    """The value in a text: an integer, a float, true, false, none; else a string.

    Commas make a tuple of them.

    >>> value("3"), value("0.5"), value("true"), value("cifar"), value("300,100")
    (3, 0.5, True, 'cifar', (300, 100))
    >>> value("300,")
    (300,)
    """
    if "," in text:
        return tuple(value(part) for part in text.split(",") if part)
    if text in _WORDS:
        return _WORDS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def rules(texts: Sequence[str]) -> tuple[tuple[str, bool], ...]:
    """Texts `REGEX=true` or `REGEX=false` as rules of the library.

    Raises:
      ValueError: a text of another form, or the regex is none.

    >>> rules(["^conv1/=false"])
    (('^conv1/', False),)
    """
    allowed = {"true": True, "false": False}
    found = pairs(texts, last=True)
    for pattern, text in found:
        if text not in allowed:
            raise ValueError(f"{pattern}={text} must end in =true or =false")
    return tuple((regex(pattern), allowed[text]) for pattern, text in found)


def file_name(text: str) -> str:
    """A text as a part of file names.

    >>> file_name("my_package.penalties:huber")
    'my_package.penalties-huber'
    """
    return re.sub(r"[^\w.=-]+", "-", text)
