"""One line in place of the C++ stack with which JAX ends a process that lost another.

JAX's coordination service ends a process from a thread of its own, which no Python code
can stop. So standard error goes through a small process, this file, which outlives it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator

__all__ = ["filtered", "speak_for"]

_SERVICE = re.compile(rb"[WEF]\d{4} .*(coordination_service|preemption_sync|client\.h)")
_others: list[subprocess.Popen[bytes]] = []
"""Kept, as they end after this process."""
_FATAL = re.compile(rb"F\d{4} .*client\.h")


def speak_for(line: str) -> None:
    """Lets standard error of this process end with a line if JAX ends the process.

    Args:
      line: what is said in place of JAX's message.
    """
    command = [sys.executable, "-I", "-S", __file__, line]
    # A session of its own: a Ctrl-C on the terminal is not for it.
    other = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    assert other.stdin is not None
    os.dup2(other.stdin.fileno(), 2)
    other.stdin.close()
    _others.append(other)


def filtered(lines: Iterable[bytes], line: bytes) -> Iterator[bytes]:
    """Lines of standard error; `line` in place of what JAX ends a process with.

    From the first complaint of the service on, lines are held back until it is clear
    whether the process ends with it. Errors of the command pass.

    Args:
      lines: lines as they were written.
      line: what is said in place of JAX's message, unless an error was said.

    >>> stack = [b"F1126 00:31:20.4 7 client.h:86] Terminating\\n", b"    @ 0x7fac\\n"]
    >>> list(filtered([b"epoch 1\\n", *stack], b"error: a process is gone\\n"))
    [b'epoch 1\\n', b'error: a process is gone\\n']
    """
    held: list[bytes] = []
    said = False
    for text in lines:
        if text.startswith(b"error: "):
            said = True
            yield text
        elif held or _SERVICE.match(text):
            held.append(text)
        else:
            yield text
    if not any(map(_FATAL.match, held)):
        yield from held
    elif not said:
        yield line


if __name__ == "__main__":
    for text in filtered(sys.stdin.buffer, os.fsencode(sys.argv[1]) + b"\n"):
        os.write(2, text)
