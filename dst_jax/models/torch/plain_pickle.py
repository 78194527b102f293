"""Pickles of plain containers, read by an interpreter that imports and calls nothing.

Python's own unpickler imports what a file names and calls it. This one knows lists,
dicts, tuples, texts and numbers, as protocol 2 writes them. What a file names has to be
in a table of the caller, and so has what it calls; all else is refused.
"""

import io
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["AllowedCall", "load"]

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {"BINFLOAT", "BININT", "BININT1", "BININT2", "BINUNICODE", "LONG1"}
_LITERALS |= {"BINSTRING", "SHORT_BINSTRING"}  # texts of Python 2
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = "it uses a value that is not there"


class AllowedCall:
    """What a pickle may call: a function of the tuple of arguments.

    It has no attributes that a pickle could reach.

    >>> AllowedCall(sum).call((1, 2))
    3
    """

    __slots__ = ("call",)

    def __init__(self, call: Callable[[tuple[Any, ...]], Any]) -> None:
        self.call = call


def load(
    file: io.BytesIO,
    *,
    names: Mapping[str, Any],
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The value of the next pickle in a file; the file is left behind its end.

    Args:
      file: file in memory, so that no length that it claims is asked of the system.
      names: what the pickle may name, as `module name`: an `AllowedCall`, or any
        constant.
      persistent: value of a persistent id; None if there may be none.

    Raises:
      ValueError: the pickle is cut short or malformed, or it holds or names something
        else; says the place.

    >>> import pickle
    >>> load(io.BytesIO(pickle.dumps({"a": [1, 2.5, None]}, protocol=2)), names={})
    {'a': [1, 2.5, None]}
    >>> load(io.BytesIO(pickle.dumps(print, protocol=2)), names={})
    Traceback (most recent call last):
    ValueError: it names '__builtin__ print' at byte 2
    """
    machine = _Machine(names, persistent)
    for opcode, argument, place in pickletools.genops(file):
        try:
            machine.step(opcode.name, argument)
        except ValueError as error:
            raise ValueError(f"{error} at byte {place}") from None
    return machine.result()


class _Machine:
    """The stack of a pickle: values, and below them those before each mark."""

    def __init__(
        self, names: Mapping[str, Any], persistent: Callable[[Any], Any] | None
    ) -> None:
        self._names = names
        self._persistent = persistent
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def result(self) -> Any:
        """The only value that is left at the end."""
        if len(self._stack) != 1 or self._below:
            raise ValueError("it must leave one value")
        return self._stack[0]

    def step(self, name: str, argument: Any) -> None:
        """Carries out one instruction."""
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._top()
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in self._memo:
                raise ValueError(_NOTHING)
            self._stack.append(self._memo[argument])
        elif name in ("GLOBAL", "REDUCE", "BUILD", "BINPERSID"):
            self._use(name, argument)
        elif name != "STOP":
            self._contain(name, argument)

    def _contain(self, name: str, argument: Any) -> None:
        """Makes a container, or fills one."""
        match name:
            case "EMPTY_DICT":
                self._stack.append({})
            case "EMPTY_LIST":
                self._stack.append([])
            case "EMPTY_TUPLE":
                self._stack.append(())
            case "MARK":
                self._below.append(self._stack)
                self._stack = []
            case "TUPLE":
                taken = self._above_mark()
                self._stack.append(tuple(taken))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._stack.append(tuple(self._last(_TUPLES[name])))
            case "APPEND":
                self._fill_list(self._last(1))
            case "APPENDS":
                self._fill_list(self._above_mark())
            case "SETITEM":
                self._fill_dict(self._last(2))
            case "SETITEMS":
                self._fill_dict(self._above_mark())
            case "PROTO" if argument == 2:
                pass
            case _:
                shown = "" if argument is None else f" {argument!r}"
                raise ValueError(f"it has the instruction {name}{shown:.40}")

    def _use(self, name: str, argument: Any) -> None:
        """Names something, calls it, or asks the caller for a value."""
        match name:
            case "GLOBAL" if argument in self._names:
                self._stack.append(self._names[argument])
            case "GLOBAL":
                raise ValueError(f"it names {argument[:80]!r}")
            case "REDUCE":
                named, arguments = self._last(2)
                if not isinstance(named, AllowedCall) or type(arguments) is not tuple:
                    raise ValueError("it calls what is no function")
                self._stack.append(named.call(arguments))
            case "BUILD":  # attributes of a dict, which a state dict has
                target, _ = self._last(2)
                if type(target) is not dict:
                    raise ValueError("it sets attributes of what is no dict")
                self._stack.append(target)
            case _:
                if self._persistent is None:
                    raise ValueError("it refers to what is stored elsewhere")
                (reference,) = self._last(1)
                self._stack.append(self._persistent(reference))

    def _top(self) -> Any:
        if not self._stack:
            raise ValueError(_NOTHING)
        return self._stack[-1]

    def _last(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError(_NOTHING)
        taken = self._stack[-count:]
        del self._stack[-count:]
        return taken

    def _above_mark(self) -> list[Any]:
        if not self._below:
            raise ValueError(_NOTHING)
        taken, self._stack = self._stack, self._below.pop()
        return taken

    def _fill_list(self, values: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            raise ValueError("it appends to what is no list")
        target.extend(values)

    def _fill_dict(self, values: list[Any]) -> None:
        target, keys = self._top(), values[::2]
        if type(target) is not dict or len(values) % 2:
            raise ValueError("it sets an item of what is no dict")
        # Others may take for ever to hash: tuples of tuples of ...
        if not all(isinstance(key, str | int | float) for key in keys):
            raise ValueError("it has a key that is neither text nor number")
        target.update(zip(keys, values[1::2], strict=True))
