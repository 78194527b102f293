"""Inner distillation: the maps of a smaller network follow those of the one before.

The network that is trained carries its teacher as a collection of variables, and the
matrices between maps of different widths as parameters; both go when it is handed on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Array, Float

from dst_jax import channels, trees
from dst_jax.channels import Groups, Keep, Plan
from dst_jax.models.smaller import Smaller
from dst_jax.train.terms import Term
from dst_jax.typing import Axis, Mask, Model, Network, Variables

__all__ = [
    "DISTILLATION",
    "TEACHER",
    "Distilled",
    "distillation_term",
    "groups_left",
    "student_of",
]

DISTILLATION = "distillation"
"""The map of the loss of every example, and what the matrices are called."""
TEACHER = "teacher"
"""The collection of the teacher's variables."""


@dataclass(frozen=True)
class Distilled:
    """A smaller model that in training also says how far its maps are from a teacher's.

    In evaluation it is its student. In training it has one map more, `distillation`: of
    every example the mean over maps of `mean((student - teacher)^2)`. A map of which
    the student has no channel left is not compared.

    Attributes:
      student: the smaller model.
      teacher: the model that it follows, in evaluation mode.
      maps: names of the maps that are compared.
    """

    student: Smaller
    teacher: Model
    maps: tuple[str, ...]

    @classmethod
    def network(
        cls,
        student: Network,
        teacher: Network,
        *,
        learned: bool,
        maps: Sequence[str] = (),
        more: bool = False,
    ) -> Network:
        """A network of a student and a teacher.

        Args:
          student: network of a `Smaller` model with labelled maps.
          teacher: network that the student has been made from.
          learned: whether a matrix `W` leads from a map `x` to a wider one, `x W`,
            which is the identity on what both have at first; otherwise the positions
            that both have are compared.
          maps: regexes of the names of the maps; all maps if there are none.
          more: whether more of the student will be removed: then every map that may
            lose channels has a matrix.

        Raises:
          ValueError: there is no such map.
        """
        assert isinstance(student.model, Smaller)
        names = _named(student.model.groups, maps)
        model = cls(student.model, teacher.model, names)
        found = model._matrices(more) if learned else {}
        params, mask = dict(student.params), student.mask
        if found:
            params[DISTILLATION] = unflatten_dict(found, sep="/")
            if mask is not None:
                nothing = jax.tree.map(lambda _: None, params[DISTILLATION])
                mask = {**mask, DISTILLATION: nothing}
        variables = {
            **student.variables,
            "params": params,
            TEACHER: dict(teacher.variables),
        }
        return Network(model, variables, mask)

    @property
    def plan(self) -> Plan:
        """The student's plan."""
        return self.student.plan

    @property
    def plans(self) -> tuple[dict[str, Any], ...]:
        """The plan as the record of a run has it."""
        return self.student.plans

    def shrunk(self, variables: Variables, mask: Mask, keep: Keep) -> Network:
        """The network with less of its student: rows of the matrices go, too."""
        taught = {name: x for name, x in variables.items() if name == TEACHER}
        rest = {name: x for name, x in variables.items() if name != TEACHER}
        both = channels.remove((rest, mask), groups_left(self, variables), keep)
        student = replace(self.student, plan=self.plan.then(keep))
        return Network(replace(self, student=student), both[0] | taught, both[1])

    def __call__(
        self,
        variables: Variables,
        x: Array,
        *,
        train: bool = False,
        rngs: Mapping[str, Array] | None = None,
    ) -> tuple[Any, Mapping[str, Array], Variables]:
        """As the student; in training with the map `distillation`."""
        own = _without(variables)
        outputs, maps, updated = self.student(own, x, train=train, rngs=rngs)
        if not train:
            return outputs, maps, updated
        _, taught, _ = self.teacher(variables[TEACHER], x, train=False, rngs=None)
        matrices = trees.named_leaves(variables["params"].get(DISTILLATION, {}))
        parts = [
            self._apart(
                name,
                maps[name],
                jax.lax.stop_gradient(taught[name]),
                matrices.get(f"{name}/matrix"),
            )
            for name in self.maps
            if name in maps
        ]
        if not parts:
            raise ValueError(
                f"distillation must have a map that is left, got {self.maps} of which"
                " no channel is"
            )
        return (
            outputs,
            {**maps, DISTILLATION: jnp.mean(jnp.stack(parts), axis=0)},
            updated,
        )

    def _apart(
        self, name: str, x: Array, taught: Array, matrix: Array | None
    ) -> Float[Array, " batch"]:
        """`mean((student - teacher)^2)` of every example's map."""
        for axis, at in self._places(name).items():
            if matrix is None or axis != taught.ndim - 1:
                taught = taught.take(at, axis)
        if matrix is not None:
            x = x @ matrix
        difference = (x - taught).astype(jnp.float32)
        return jnp.square(difference).reshape(len(x), -1).mean(axis=1)

    def _places(self, name: str) -> dict[int, np.ndarray]:
        """Where positions of the student's map are in the teacher's.

        By axis, of those that have channels: the batch is no axis of these.
        """
        then = self.teacher.plan.keep if isinstance(self.teacher, Smaller) else {}
        now = self.student.plan.keep
        places = {}
        for axis, labels in enumerate(self.student.groups.aux[name]):
            if any(group is not None for group, _ in labels):
                had = [g not in then or then[g][u] for g, u in labels]
                has = [g is None or now[g][u] for g, u in labels]
                places[axis] = np.flatnonzero(np.array(has)[np.array(had)])
        return places

    def _matrices(self, more: bool) -> dict[str, Array]:
        """The matrices at first, by path."""
        then = self.teacher.plan.keep if isinstance(self.teacher, Smaller) else {}
        found = {}
        for name in self.maps:
            labels = self.student.groups.aux[name]
            at = self._places(name).get(len(labels) - 1)
            wide = sum(g not in then or bool(then[g][u]) for g, u in labels[-1])
            if at is not None and (more or at.size != wide):
                found[f"{name}/matrix"] = jnp.eye(wide, dtype=jnp.float32)[at]
        return found


def distillation_term(strength: float) -> Term:
    """The term of the objective: `strength / maps * sum mean((student - teacher)^2)`.

    Args:
      strength: the factor, gamma.

    Reference:
      Aflalo et al. 2020 (knapsack pruning with inner distillation, arXiv 2002.08258).

    >>> term = distillation_term(20.0)
    >>> maps = {"relu1": jnp.ones((2, 3)), DISTILLATION: jnp.array([0.25, 0.75])}
    >>> float(term(maps))
    10.0
    """
    return Term(
        _summed,
        strength,
        layers=(f"^{DISTILLATION}$", ""),
        layer_weights=(1.0, 0.0),
        name="distillation_loss",
    )


def groups_left(model: Smaller | Distilled, variables: Variables) -> Groups:
    """The groups of what is left of a network, with the rows of its matrices.

    Args:
      model: a smaller model, with or without a teacher.
      variables: its variables; shapes will do.

    >>> from dst_jax.channels import Plan
    >>> nothing = Plan.of(Groups({}, shapes={"params/a": (2,)}, fixed={}, aux={}), {})
    >>> groups_left(Smaller(print, nothing), {"params": {}}).shapes
    {'params/a': (2,)}
    """
    if isinstance(model, Smaller):
        return model.left
    left = model.student.left
    matrices = trees.named_leaves(variables["params"].get(DISTILLATION, {}))
    return left.extended(
        {
            f"params/{DISTILLATION}/{path}": (
                tuple(matrix.shape),
                0,
                left.aux[path.removesuffix("/matrix")][-1],
            )
            for path, matrix in matrices.items()
        }
    )


def student_of(network: Network) -> Network:
    """The network without its teacher; any other network as it is.

    >>> student_of(Network(print, {"params": {}})).model is print
    True
    """
    if not isinstance(network.model, Distilled):
        return network
    mask = network.mask
    if mask is not None:
        mask = {name: leaf for name, leaf in mask.items() if name != DISTILLATION}
    return Network(network.model.student, _without(network.variables), mask)


def _without(variables: Variables) -> dict[str, Any]:
    """The student's variables."""
    params = variables["params"]
    own = {name: leaf for name, leaf in params.items() if name != DISTILLATION}
    others = {name: x for name, x in variables.items() if name != TEACHER}
    return {**others, "params": own}


def _named(groups: Groups, maps: Sequence[str]) -> tuple[str, ...]:
    if not groups.aux:
        raise ValueError("distillation compares activation maps: the network has none")
    rules = [(pattern, True) for pattern in maps]
    chosen = trees.select(dict.fromkeys(groups.aux, 0), rules, default=not maps)
    return tuple(name for name, taken in chosen.items() if taken)


def _summed(x: Array, *, axis: Axis = None) -> Float[Array, "..."]:
    return x.astype(jnp.float32).sum(axis)
