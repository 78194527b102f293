"""From options to the terms of the loss."""

from dst_jax import penalties
from dst_jax.train import Target, Term
from experiments.config import Activation, Prune

__all__ = ["number", "pairs", "shape", "target", "term"]


def term(group: str, part: Prune | Activation) -> Term:
    """The penalty that a group of options describes."""
    layers = part.layers if isinstance(part, Activation) else ()
    weighed = pairs("activation.layers", layers)
    options = shape(group, part)
    return Term(
        penalty=penalties.get(part.penalty),
        strength=part.strength,
        options=options,
        warmup=part.warmup_epochs if isinstance(part, Activation) else 0,
        ramp=part.ramp if isinstance(part, Activation) else "linear",
        layers=tuple(pattern for pattern, _ in weighed),
        layer_weights=tuple(number("activation.layers", x) for _, x in weighed),
    )


def shape(group: str, part: Prune | Activation) -> dict[str, float]:
    """The shape parameters of a group's penalty."""
    options = {
        name: number(f"{group}.options", text)
        for name, text in pairs(f"{group}.options", part.options)
    }
    if part.a is not None:
        options["a"] = part.a
    try:
        penalties.get(part.penalty, **options)
    except ValueError as error:
        raise ValueError(f"--{group}.penalty: {error}") from None
    return options


def target(part: Activation) -> Target | None:
    """The sparsity that the strength adapts itself to, if there is one."""
    if part.target is None:
        return None
    return Target(part.target, part.max_loss, part.gain)


def pairs(option: str, texts: tuple[str, ...]) -> list[tuple[str, str]]:
    """Texts `NAME=VALUE` in two; a regex may hold further `=`.

    >>> pairs("activation.layers", ("relu1=2",))
    [('relu1', '2')]
    """
    for text in texts:
        if "=" not in text:
            raise ValueError(f"--{option}: {text!r} must be NAME=VALUE")
    return [(head, tail) for head, _, tail in (t.rpartition("=") for t in texts)]


def number(option: str, text: str) -> float:
    """The number in a text.

    >>> number("activation.options", "1e-3")
    0.001
    """
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--{option}: {text!r} must be a number") from None
