"""Errors of the command line's parser, in one line as all other errors are."""

import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr

from experiments.options.texts import suggestion

__all__ = ["in_one_line"]

_RULE = re.compile(r"[-─]{3,}")
_QUOTED = re.compile(r"'([^']*)'")


@contextmanager
def in_one_line(argv: Sequence[str]) -> Iterator[None]:
    """Prints the box that tyro draws around an error as one line.

    Args:
      argv: the arguments; if they ask for help, nothing is changed.

    >>> with in_one_line([]):
    ...     print("nothing is said")
    nothing is said
    """
    if {"--help", "-h"} & set(argv):
        yield
        return
    said, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100000"  # so that no word is cut at the end of a line
    try:
        with redirect_stderr(said):
            yield
    except SystemExit as ended:
        if ended.code == 2:
            print(f"error: {_message(said.getvalue())}", file=sys.stderr)
            said = io.StringIO()
        raise
    finally:
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
        sys.stderr.write(said.getvalue())


def _message(box: str) -> str:
    """What the first part of a box says, and the name or value that may be meant."""
    parts: list[list[str]] = [[]]
    for line in box.splitlines()[1:]:  # below the title
        text = line.strip("│| \t")
        if _RULE.fullmatch(text):
            parts.append([])
        elif text and text[0] not in "╰+":
            parts[-1].append(text)
    first, *others = [part for part in parts if part]
    message = " ".join(first).removeprefix("Error parsing ").removesuffix(".")
    message, _, _ = message.partition(". Got errors:")
    for part in others:
        if part[0].startswith("Perhaps you meant"):
            message += f"; did you mean {part[1].split()[0].strip(',')}?"
    value, *known = _QUOTED.findall(message) or [""]
    if message.startswith("invalid choice"):
        message += suggestion(value, [word for word in known if word[:2] != "--"])
    return f"{message} (see --help)"
