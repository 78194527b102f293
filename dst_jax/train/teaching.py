"""Outputs that follow those of a teacher: no label is read.

The network that is trained carries its teacher as a collection of variables, which goes
when it is handed on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.train.distillation import DISTILLATION, TEACHER
from dst_jax.train.tasks import Task
from dst_jax.train.tasks.task import Direction
from dst_jax.typing import Model, Network, Scalar, Schedule, Variables

__all__ = [
    "Taught",
    "Unlabelled",
    "base_decayed_kl",
    "decaying_base",
    "divergence",
    "untaught",
]

BASE = "base"
"""The variable of the base, in the collection `distillation`."""


def base_decayed_kl(
    student: Float[Array, "batch classes"],
    teacher: Float[Array, "batch classes"],
    *,
    base: Scalar = 8.0,
    temperature: float = 4.0,
) -> Float[Array, " batch"]:
    """The distance of every example's logits from a teacher's, UniPTS' way.

        T^2 sum_k p_k (log p_k - log softmax(student)_k / base)

    with `p = softmax(teacher / T)`.

    A logarithm of another base is one divided by a number: as it falls from 8, the
    gradient grows. Its gradient is `T^2 / base (softmax(student) - p)`.

    Args:
      student, teacher: logits.
      base: what the student's logarithm is divided by, > 0; may be traced.
      temperature: temperature T of the teacher alone, > 0.

    Returns:
      A float32 number for each example; it need not be 0 where both are equal.

    Reference:
      UniPTS (Xie et al. 2024, arXiv 2405.18810), from the authors' code.

    >>> logits = jnp.array([[2.0, 0.0]])
    >>> round(float(base_decayed_kl(logits, logits, base=1.0, temperature=1.0)[0]), 6)
    0.0
    """
    student, teacher = student.astype(jnp.float32), teacher.astype(jnp.float32)
    soft = jax.nn.log_softmax(teacher / temperature)
    own = jax.nn.log_softmax(student) / base
    return temperature**2 * (jnp.exp(soft) * (soft - own)).sum(-1)


def divergence(
    student: Float[Array, "batch classes"], teacher: Float[Array, "batch classes"]
) -> Float[Array, " batch"]:
    """The Kullback-Leibler divergence of a student's classes from a teacher's.

    >>> divergence(jnp.zeros((1, 2)), jnp.zeros((1, 2))).tolist()
    [0.0]
    """
    student, teacher = student.astype(jnp.float32), teacher.astype(jnp.float32)
    soft = jax.nn.log_softmax(teacher)
    return (jnp.exp(soft) * (soft - jax.nn.log_softmax(student))).sum(-1)


def decaying_base(
    *, steps: int, steps_per_epoch: int, first: float = 8.0, factor: float = 0.99
) -> Mapping[str, Schedule]:
    """The schedule of a `Taught` model's base: `first * factor^epoch`.

    Args:
      steps: number of steps, which does not matter.
      steps_per_epoch: number of steps in an epoch.
      first: base in the first epoch.
      factor: factor from epoch to epoch.

    >>> schedule = decaying_base(steps=8, steps_per_epoch=4)["distillation/base"]
    >>> [round(float(schedule(step)), 4) for step in (0, 3, 4)]
    [8.0, 8.0, 7.92]
    """
    del steps

    def base(count: Scalar) -> Scalar:
        return first * factor ** jnp.floor(jnp.asarray(count) / steps_per_epoch)

    return {f"{DISTILLATION}/{BASE}": base}


@dataclass(frozen=True)
class Taught:
    """A model that in training also says how far its outputs are from a teacher's.

    In evaluation it is its student. In training it has one map more, `distillation`:
    `base_decayed_kl` of every example. The teacher normalises by the batch, too.

    Attributes:
      student, teacher: models, which may be the same.
      temperature: temperature of the teacher.

    >>> def model(variables, x, *, train=False, rngs=None):
    ...     return x @ variables["params"]["w"], {}, {}
    >>> network = Network(model, {"params": {"w": jnp.eye(2)}})
    >>> taught = Taught.network(network, network)
    >>> _, maps, _ = taught.model(taught.variables, jnp.ones((3, 2)), train=True)
    >>> maps["distillation"].shape
    (3,)
    """

    student: Model
    teacher: Model
    temperature: float = 4.0

    @classmethod
    def network(
        cls, student: Network, teacher: Network, *, temperature: float = 4.0
    ) -> Network:
        """A network of a student and its teacher.

        Args:
          student: the network that is trained.
          teacher: the network that it learns from.
          temperature: temperature of the teacher.

        >>> network = Network(print, {"params": {}})
        >>> sorted(Taught.network(network, network).variables)
        ['distillation', 'params', 'teacher']
        """
        variables = {
            **student.variables,
            DISTILLATION: {BASE: jnp.float32(1)},
            TEACHER: dict(teacher.variables),
        }
        taught = cls(student.model, teacher.model, temperature)
        return Network(taught, variables, student.mask)

    @property
    def plans(self) -> tuple[dict[str, Any], ...]:
        """What has been removed from the student, as the record of a run has it."""
        return tuple(getattr(self.student, "plans", ()))

    def __call__(
        self,
        variables: Variables,
        x: Array,
        *,
        train: bool = False,
        rngs: Mapping[str, Array] | None = None,
    ) -> tuple[Any, Mapping[str, Array], Variables]:
        """As the student; in training with the map `distillation`.

        Raises:
          ValueError: the outputs are no logits (batch, classes).
        """
        own = _students(variables)
        outputs, maps, updated = self.student(own, x, train=train, rngs=rngs)
        if not train:
            return outputs, maps, updated
        if getattr(outputs, "ndim", None) != 2:
            raise ValueError(
                "a teacher's answers are logits (batch, classes), got"
                f" {jax.tree.map(jnp.shape, outputs)}"
            )
        taught, _, _ = self.teacher(variables[TEACHER], x, train=True, rngs=rngs)
        apart = base_decayed_kl(
            outputs,
            jax.lax.stop_gradient(taught),
            base=variables[DISTILLATION][BASE],
            temperature=self.temperature,
        )
        return outputs, {**maps, DISTILLATION: apart}, updated


@dataclass(frozen=True)
class Unlabelled:
    """A task whose loss is 0: what is minimised is in the terms of the objective.

    Attributes:
      task: the task that the network is evaluated by.

    >>> from dst_jax.train import tasks
    >>> task = Unlabelled(tasks.classification())
    >>> float(task.loss(jnp.ones((2, 3)), jnp.zeros(2, jnp.int32))), task.best
    (0.0, ('top1', 'max'))
    """

    task: Task

    @property
    def best(self) -> tuple[str, Direction]:
        """That of the task."""
        return self.task.best

    def loss(self, outputs: Any, labels: Array) -> Float[Array, ""]:
        """0, whatever the labels."""
        del outputs, labels
        return jnp.zeros((), jnp.float32)

    def sums(self, outputs: Any, labels: Array) -> Mapping[str, Array]:
        """Those of the task."""
        return self.task.sums(outputs, labels)

    def summary(self, sums: Mapping[str, Any]) -> Mapping[str, float]:
        """That of the task."""
        return self.task.summary(sums)


def untaught(network: Network) -> Network:
    """The network without its teacher; any other network as it is.

    >>> untaught(Network(print, {"params": {}})).model is print
    True
    """
    if not isinstance(network.model, Taught):
        return network
    return Network(network.model.student, _students(network.variables), network.mask)


def _students(variables: Variables) -> dict[str, Any]:
    own = (TEACHER, DISTILLATION)
    return {name: x for name, x in variables.items() if name not in own}
