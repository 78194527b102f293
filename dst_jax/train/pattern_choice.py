"""A choice per layer between N:M patterns of weights and activations, by gradient."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax import checks, pruning
from dst_jax.activations import keep_n_of_m
from dst_jax.typing import Scalar, Schedule

__all__ = ["CANDIDATES", "Candidate", "annealed", "expected_cost", "mixed", "shares_of"]


class Candidate(NamedTuple):
    """What a layer may be.

    Attributes:
      weight: pattern of the weights along the inputs, such as "2:4"; None for dense.
      activation: pattern of the layer's input along the channels; None for dense.

    >>> Candidate("2:4", None).title
    'W 2:4'
    """

    weight: str | None = None
    activation: str | None = None

    @property
    def title(self) -> str:
        """The sides that are sparse, in a few letters.

        >>> Candidate("2:4", "4:8").title, Candidate().title
        ('W 2:4 + A 4:8', 'dense')
        """
        sides = {"W": self.weight, "A": self.activation}
        return " + ".join(f"{k} {x}" for k, x in sides.items() if x) or "dense"

    def weights(self, w: Array, *, refinement: Scalar = 0.0) -> Array:
        """The weights that are used, straight-through.

        Args:
          w: weights (*window, inputs, outputs).
          refinement: SR-STE's decay of the others.

        >>> Candidate("1:2").weights(jnp.array([[1.0], [-2.0]])).ravel().tolist()
        [0.0, -2.0]
        """
        if self.weight is None:
            return w
        keep = pruning.structures.by_name(self.weight)
        mask = keep(jnp.abs(jax.lax.stop_gradient(w)), 0)
        return _refined(w, mask, jnp.asarray(refinement, w.dtype))

    def inputs(self, x: Array) -> Array:
        """The layer's input that is used, straight-through.

        Args:
          x: input (..., channels).

        >>> Candidate(None, "1:2").inputs(jnp.array([1.0, 2.0, 4.0, 3.0])).tolist()
        [0.0, 2.0, 4.0, 0.0]
        """
        if self.activation is None:
            return x
        n, m = map(int, self.activation.split(":"))
        return keep_n_of_m(x, n, m)


CANDIDATES = (
    Candidate(),
    Candidate("2:4"),
    Candidate(None, "2:4"),
    Candidate("2:4", "2:4"),
    Candidate("1:4"),
)
"""Dense, either side 2:4, both, and weights 1:4."""


def shares_of(
    logits: Float[Array, "*layers candidates"], temperature: Scalar
) -> Float[Array, "*layers candidates"]:
    """The share of every candidate, `softmax(logits / temperature)`.

    >>> shares_of(jnp.array([0.0, 1.0]), 0.05).round(3).tolist()
    [0.0, 1.0]
    """
    return jax.nn.softmax(logits / temperature)


def mixed(
    operation: Callable[[Array, Array], Array],
    x: Array,
    w: Array,
    shares: Float[Array, " candidates"],
    *,
    candidates: Sequence[Candidate] = CANDIDATES,
    refinement: float = 2e-4,
) -> Array:
    """What a layer gives that is a little of every candidate.

        sum_c share_c operation(x_c, w_c)

    with the input and the weights of each candidate, straight-through. The decay of
    SR-STE on the weights that a candidate prunes has the candidate's share.

    Args:
      operation: function `(x, w)`.
      x: input (..., channels).
      w: weights (*window, inputs, outputs).
      shares: shares of the candidates, see `shares_of`.
      candidates: the candidates.
      refinement: strength of the decay.

    Raises:
      ValueError: there is not one share for each candidate; M does not divide the
        channels.

    Reference:
      N:M search (Akiva-Hochman et al. 2022, doi 10.1007/978-3-031-25082-8_9), whose
      code is not public: the form is ours. SR-STE: Zhou et al. 2021.

    >>> x, w = jnp.array([[1.0, 2.0, 3.0, 4.0]]), jnp.ones((4, 1))
    >>> mixed(jnp.matmul, x, w, jnp.array([0.5, 0, 0.5, 0, 0])).tolist()  # 10 and 7
    [[8.5]]
    """
    if shares.shape != (len(candidates),):
        raise ValueError(
            f"shares must be {len(candidates)}, one for each candidate, got"
            f" {shares.shape}"
        )
    decays = refinement * jax.lax.stop_gradient(shares)
    parts = [
        share * operation(c.inputs(x), c.weights(w, refinement=decay))
        for c, share, decay in zip(candidates, shares, decays, strict=True)
    ]
    return jnp.sum(jnp.stack(parts), axis=0)


def expected_cost(
    shares: Mapping[str, Float[Array, " candidates"]],
    costs: Mapping[str, Sequence[float] | Array],
) -> Float[Array, ""]:
    """The cost of layers that mix their candidates: `sum_l sum_c share cost`.

    Args:
      shares: shares of the candidates by layer.
      costs: cost of the candidates by layer.

    >>> float(expected_cost({"fc": jnp.array([0.5, 0.5])}, {"fc": (1.0, 0.5)}))
    0.75
    """
    found = [jnp.dot(own, jnp.asarray(costs[name])) for name, own in shares.items()]
    return jnp.sum(jnp.stack(found))


def annealed(*, steps: int, first: float = 1.0, last: float = 0.05) -> Schedule:
    """A temperature that falls from `first` to `last` by the same factor every step.

    Args:
      steps: number of steps until `last` is reached.
      first: temperature at first, > 0.
      last: temperature in the end, > 0.

    >>> [round(float(annealed(steps=2)(step)), 4) for step in (0, 1, 2, 3)]
    [1.0, 0.2236, 0.05, 0.05]
    """
    checks.positive("first", first)
    checks.positive("last", last)

    def temperature(count: Scalar) -> Scalar:
        share = jnp.minimum(jnp.asarray(count) / max(steps, 1), 1)
        return first * (last / first) ** share

    return temperature


@jax.custom_vjp
def _refined(w: Array, mask: Array, refinement: Array) -> Array:
    """`mask * w`, whose backward pass adds the decay of SR-STE."""
    del refinement
    return jnp.where(mask, w, 0)


def _refined_forward(w: Array, mask: Array, refinement: Array):
    return _refined(w, mask, refinement), (w, mask, refinement)


def _refined_backward(saved: tuple[Array, Array, Array], w_bar: Array):
    w, mask, refinement = saved
    return w_bar + jnp.where(mask, 0, refinement * w), None, None


_refined.defvjp(_refined_forward, _refined_backward)
