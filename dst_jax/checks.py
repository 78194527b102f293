"""Refusals that many share: ranges, and names with "did you mean"."""

import difflib
import importlib
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from dst_jax.typing import GroupLike, concrete, is_traced

__all__ = [
    "at_least",
    "fraction",
    "function",
    "group",
    "known_options",
    "lookup",
    "one_of",
    "positive",
    "resolve",
    "share",
    "suggestion",
]

Member = TypeVar("Member")


def fraction(name: str, value: Any) -> None:
    """Refuses a number outside [0, 1); a traced value, unknown here, passes.

    Args:
      name: the argument, for the message.
      value: its value.

    Raises:
      ValueError: the value is out of range or NaN.

    >>> fraction("sparsity", 1.0)
    Traceback (most recent call last):
    ValueError: sparsity must be in [0, 1), got 1.0
    """
    if not is_traced(value) and not 0 <= concrete(value) < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value}")


def share(name: str, value: Any) -> None:
    """Refuses a number outside [0, 1]; a traced value passes.

    Args:
      name: the argument, for the message.
      value: its value.

    Raises:
      ValueError: the value is out of range or NaN.

    >>> share("bound", -1)
    Traceback (most recent call last):
    ValueError: bound must be in [0, 1], got -1
    """
    if not is_traced(value) and not 0 <= concrete(value) <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")


def at_least(name: str, value: Any, least: Any) -> None:
    """Refuses a number below `least` and one that is not finite; traced values pass.

    Args:
      name: the argument, for the message.
      value: its value.
      least: the smallest value that is allowed.

    Raises:
      ValueError: the value is out of range or NaN.

    >>> at_least("interval", 0, 1)
    Traceback (most recent call last):
    ValueError: interval must be a finite number >= 1, got 0
    """
    if is_traced(value) or is_traced(least):
        return
    if not concrete(least) <= concrete(value) < float("inf"):
        raise ValueError(f"{name} must be a finite number >= {least}, got {value}")


def positive(name: str, value: Any) -> None:
    """Refuses a number that is not above 0 and finite; a traced value passes.

    Args:
      name: the argument, for the message.
      value: its value.

    Raises:
      ValueError: the value is out of range or NaN.

    >>> positive("clip", -1)
    Traceback (most recent call last):
    ValueError: clip must be > 0 and finite, got -1
    """
    if not is_traced(value) and not 0 < concrete(value) < float("inf"):
        raise ValueError(f"{name} must be > 0 and finite, got {value}")


def one_of(name: str, value: Any, known: Collection[str]) -> None:
    """Refuses a word that is not in `known`, and suggests the nearest one.

    Args:
      name: the argument, for the message.
      value: its value.
      known: all words that are allowed.

    Raises:
      ValueError: the word is unknown.

    >>> one_of("decay", "cosin", ["cosine", "linear"])
    Traceback (most recent call last):
    ValueError: decay must be one of (...), got 'cosin'; did you mean 'cosine'?
    """
    if value not in known:
        allowed = f"{name} must be one of {tuple(known)}"
        raise ValueError(f"{allowed}, got {value!r}{suggestion(value, known)}")


def lookup(name: str, value: str, known: Mapping[str, Member]) -> Member:
    """The member of a family by its name, or any object as `module:attribute`.

    Args:
      name: the argument, for the message.
      value: a key of `known`, or `module:attribute` of a member from elsewhere.
      known: the family's members by name.

    Raises:
      ValueError: an unknown name, or nothing is found at `module:attribute`.

    >>> lookup("curve", "double", {"double": lambda x: 2 * x})(3)
    6
    >>> lookup("curve", "math:sqrt", {})(9)
    3.0
    >>> lookup("curve", "dubble", {"double": lambda x: 2 * x})
    Traceback (most recent call last):
    ValueError: curve must be one of ('double',)...; did you mean 'double'? (a mod...
    """
    if value in known:
        return known[value]
    if ":" in value:
        return resolve(value, argument=name)
    raise ValueError(
        f"{name} must be one of {tuple(known)}, got {value!r}{suggestion(value, known)}"
        " (a module:attribute is taken too)"
    )


def function(name: str, value: str, known: Mapping[str, Any]) -> Any:
    """The function of a family by its name, or any as `module:attribute`.

    Args:
      name: the argument, for the message.
      value: a key of `known`, or `module:attribute` of a function from elsewhere.
      known: the family's functions by name.

    Raises:
      ValueError: an unknown name, or what is found is no function.

    >>> function("curve", "math:sqrt", {})(9)
    3.0
    >>> function("curve", "math:pi", {})
    Traceback (most recent call last):
    ValueError: curve 'math:pi' must be a function, got 3.14...
    """
    found = lookup(name, value, known)
    if not callable(found):
        raise ValueError(f"{name} {value!r} must be a function, got {found!r}")
    return found


def resolve(text: str, *, argument: str = "name") -> Any:
    """The object that `module:attribute` names, its module imported.

    Args:
      text: the module's import path, a colon, and an attribute, which may have dots.
      argument: the argument that `text` was given for, for the message.

    Raises:
      ValueError: `text` has another form, there is no such module, or the module has no
        such attribute. An error inside the module is passed on as it is.

    >>> resolve("math:pi")
    3.141592653589793
    >>> resolve("math:sqr", argument="method")
    Traceback (most recent call last):
    ValueError: method 'math:sqr': module math has no attribute 'sqr'; did you mean...
    """
    module_name, _, attribute = text.partition(":")
    parts = [*module_name.split("."), *attribute.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise ValueError(f"{argument} must be module:attribute, got {text!r}")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that exists but fails to import another one says so itself.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"{argument} {text!r}: there is no module {error.name}"
        ) from None
    where = f"module {module_name}"
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ValueError(
                f"{argument} {text!r}: {where} has no attribute"
                f" {part!r}{suggestion(part, dir(found))}"
            )
        found, where = getattr(found, part), part
    return found


def group(name: str, value: GroupLike) -> None:
    """Refuses a group of channels whose members are malformed.

    Args:
      name: name of the group.
      value: the group.

    Raises:
      ValueError: there is not one role per member, or a unit that the group lacks.

    >>> from types import SimpleNamespace
    >>> members = [("a", 0, [1])]
    >>> group("a", SimpleNamespace(size=1, members=members, roles=["reads"]))
    Traceback (most recent call last):
    ValueError: group a must have units in -1..0, got [1] at a
    """
    if len(value.members) != len(value.roles):
        raise ValueError(
            f"group {name} must have one role per member, got {len(value.members)}"
            f" members and {len(value.roles)} roles"
        )
    for path, _, units in value.members:
        found = sorted({int(unit) for unit in units})
        if found and not -1 <= found[0] <= found[-1] < value.size:
            raise ValueError(
                f"group {name} must have units in -1..{value.size - 1}, got {found} at"
                f" {path}"
            )


def known_options(owner: str, given: Collection[str], known: Collection[str]) -> None:
    """Refuses options that `owner` does not take, and suggests the nearest ones.

    Args:
      owner: what the options are for, for the message.
      given: the names of the options.
      known: the names that `owner` takes.

    Raises:
      ValueError: an option is unknown.

    >>> known_options("rigl", ["intervall"], ["end", "interval"])
    Traceback (most recent call last):
    ValueError: rigl has no option ['intervall']; it takes ...; did you mean 'interval'?
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(
            f"{owner} has no option {unknown}; it takes"
            f" {list(known)}{suggestion(unknown[0], known)}"
        )


def suggestion(value: Any, known: Collection[str]) -> str:
    """The end of a message: the known word that looks most like a value, if any.

    Args:
      value: what is not in `known`.
      known: all words that are allowed.

    >>> "mnits is unknown" + suggestion("mnits", ["digits", "mnist"])
    "mnits is unknown; did you mean 'mnist'?"
    """
    close = difflib.get_close_matches(str(value), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
