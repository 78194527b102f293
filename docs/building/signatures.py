"""Signatures with annotations and defaults as the source has them.

`Scalar` stays `Scalar`, which has a page, and shapes of arrays stay in sight.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator

__all__ = ["signature"]

_EMPTY = inspect.Parameter.empty


def signature(value: Callable[..., object]) -> tuple[str, str]:
    """The arguments in brackets and what is returned; empty if they are not known."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "", ""
    written, returned = _written(value)
    parameters = [p for p in found.parameters.values() if p.name not in ("self", "cls")]
    return f"({', '.join(_arguments(parameters, written))})", returned


Texts = dict[str, tuple[str, str]]
"""By argument, its annotation and its default."""


def _arguments(parameters: list[inspect.Parameter], written: Texts) -> Iterator[str]:
    starred = False
    for i, parameter in enumerate(parameters):
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            yield "*"
            starred = True
        starred = starred or parameter.kind is parameter.VAR_POSITIONAL
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        annotation, default = written.get(parameter.name, ("", ""))
        text = stars.get(parameter.kind, "") + parameter.name
        text += f": {annotation}" if annotation else ""
        if parameter.default is not _EMPTY:
            text += f" = {default or '...'}"
        yield text
        following = parameters[i + 1 : i + 2]
        if parameter.kind is parameter.POSITIONAL_ONLY and not (
            following and following[0].kind is parameter.POSITIONAL_ONLY
        ):
            yield "/"


def _written(value: Callable[..., object]) -> tuple[Texts, str]:
    if not inspect.isclass(value):
        node = _node(inspect.unwrap(value))
        return _of_function(node) if isinstance(node, ast.FunctionDef) else ({}, "")
    texts: Texts = {}
    for base in reversed(value.__mro__):
        node = _node(base) if base is not object else None
        for field in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                texts[field.target.id] = (_text(field.annotation), _text(field.value))
            elif isinstance(field, ast.FunctionDef) and field.name == "__init__":
                texts |= _of_function(field)[0]
    return texts, ""


def _node(value: object) -> ast.stmt | None:
    try:
        source = inspect.getsource(value)  # type: ignore[arg-type]
        return ast.parse(textwrap.dedent(source)).body[0]
    except (OSError, TypeError, SyntaxError):
        return None


def _of_function(node: ast.FunctionDef) -> tuple[Texts, str]:
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    none: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    defaults = [*none, *given.defaults, *given.kw_defaults]
    arguments = [*positional, *given.kwonlyargs]
    texts = {
        argument.arg: (_text(argument.annotation), _text(default))
        for argument, default in zip(arguments, defaults, strict=True)
    }
    for rest in filter(None, (given.vararg, given.kwarg)):
        texts[rest.arg] = (_text(rest.annotation), "")
    return texts, _text(node.returns)


def _text(node: ast.expr | None) -> str:
    if node is None:
        return ""
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("field"):
        return ""  # of a dataclass: made anew for each value
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value if node.value.isidentifier() else repr(node.value)
    return ast.unparse(node)
