"""Which leaves are kernels by their names and shapes."""

import re
from typing import Any

import jax.numpy as jnp

from dst_jax import trees
from dst_jax.kernels.kernel import Kernel, Kernels, components, is_auxiliary
from dst_jax.typing import Params

__all__ = ["by_name", "conventional", "may_be_kernel"]

_NAMES = ("kernel", "w", "weight")
# At the beginning of a word of the name.
_NEVER = re.compile(
    r"(^|[^a-z])(bias|(layer)?scale|offset|shift|gain|gamma|beta|emb|position|token"
    r"|threshold|temperature|(pos|cls|mean|var|w[pt]e)(?![a-z]))"
)
# Tables of vectors that are looked up, whose leaf is called `weight` too.
_TABLE = re.compile(r"(embed(ding)?|position|token)s?$")
# Normalisation, whose scale is called `weight` where modules follow PyTorch.
_NORM = re.compile(r"(norms?_?\d*|(^|_)(bn|ln)\d*(_(f|\d+))?)$")


def by_name(tree: Params) -> Kernels:
    """The kernels of a tree by the names and shapes of its leaves.

    A kernel is a float leaf of two or more axes called `kernel` or `w`, with the axes
    (*window, input, output), or `weight`, with the axes (output, input, *window) as in
    Equinox and PyTorch. The `value` at the end of NNX's paths is no part of a name.
    If no leaf has one of these names, or only a bare `w` next to others as in a tree
    written by hand, every float leaf of two or more axes is a kernel (*window, input,
    output), except biases, scales, embeddings, positions, tokens and the like. Leaves
    under a name in `auxiliary` are no kernels.

    Names do not tell a stack from a window: an axis in front is taken as a window.

    Args:
      tree: pytree of arrays or `jax.ShapeDtypeStruct`s.

    Raises:
      ValueError: a leaf that would be a kernel is complex.

    >>> by_name({"fc": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}})
    {'fc/kernel': Kernel(stack=(), window=(), inputs=(0,), outputs=(1,), groups=1)}
    >>> by_name({"fc": {"weight": jnp.ones((3, 2))}})["fc/weight"].inputs
    (1,)
    """
    leaves = trees.named_leaves(tree)
    by_convention = any(map(_is_convention, leaves))
    named = conventional if by_convention else _unexceptional
    kernels: dict[str, Kernel] = {}
    for path, leaf in leaves.items():
        axes = len(getattr(leaf, "shape", ()))
        if axes < 2 or not named(path) or not may_be_kernel(path, leaf):
            continue
        if _name(path) == "weight":
            kernels[path] = Kernel((), tuple(range(2, axes)), (1,), (0,))
        else:
            kernels[path] = Kernel((), tuple(range(axes - 2)), (axes - 2,), (axes - 1,))
    return Kernels(kernels, leaves=tuple(leaves))


def may_be_kernel(path: str, leaf: Any) -> bool:
    """Whether a leaf is float and under no name in `auxiliary`.

    Raises:
      ValueError: the leaf is complex.

    >>> may_be_kernel("fc/kernel", jnp.ones(2)), may_be_kernel("gates/fc", jnp.ones(2))
    (True, False)
    """
    if is_auxiliary(components(path)):
        return False
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        raise ValueError(
            f"{path or 'the array'} is a kernel of type {leaf.dtype}: kernels must be "
            "real; keep its real and its imaginary part as two leaves"
        )
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _words(path: str) -> tuple[str, ...]:
    """The components that are no numbers, in lower case with `_` between words.

    >>> _words("layers/0/posEmbed/1/value")
    ('layers', 'pos_embed')
    """
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", "/".join(components(path)))
    return tuple(part for part in split.lower().split("/") if not part.isdigit())


def _name(path: str) -> str:
    return (_words(path) or ("",))[-1]


def _is_convention(path: str) -> bool:
    """Whether the name of a leaf says that the tree names kernels as libraries do.

    >>> _is_convention("linear/w"), _is_convention("kernel"), _is_convention("w")
    (True, True, False)
    """
    return _name(path) in _NAMES and components(path) != ("w",)


def conventional(path: str) -> bool:
    """Whether a leaf has a name that libraries give to kernels.

    >>> conventional("fc/weight"), conventional("token_embedding/weight")
    (True, False)
    >>> conventional("layer_norm/weight")
    False
    """
    *above, name = _words(path) or ("",)
    if name == "weight" and above:
        if _NORM.search(above[-1]):
            return False
        if _TABLE.search(above[-1]):
            return "patch" in above[-1]
    return name in _NAMES


def _unexceptional(path: str) -> bool:
    """Whether a leaf has no name of biases, scales, embeddings and the like.

    >>> _unexceptional("a"), _unexceptional("cls_token")
    (True, False)
    """
    return not _NEVER.search(_name(path))
