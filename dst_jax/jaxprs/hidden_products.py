"""Which equations multiply, in sight or out of sight."""

from collections.abc import Iterator

from jax.extend import core

from dst_jax.jaxprs.calls import FOLLOWED, bodies, called, has_rule, name_of
from dst_jax.jaxprs.module_paths import Path, path_of
from dst_jax.jaxprs.mutable_loops import HIJAX, is_mutable
from dst_jax.jaxprs.opaque_primitives import OPAQUE, is_of_jax
from dst_jax.jaxprs.plain_derivatives import is_elementwise_derivative
from dst_jax.jaxprs.product_operands import is_product

__all__ = [
    "is_hidden",
    "is_opaque",
    "multiplies",
    "reads_mutable",
    "refuse_hidden",
    "why_hidden",
]


def is_opaque(eqn: core.JaxprEqn) -> bool:
    """Whether an equation may multiply matrices in a way that is not seen.

    So may any primitive that JAX does not define, unless a rule is registered for it,
    and so do derivatives that are elementwise for speed, see `plain_derivatives`.

    >>> import jax
    >>> program = jax.make_jaxpr(jax.lax.linalg.cholesky)(jax.numpy.eye(2))
    >>> {eqn.primitive.name for eqn in program.eqns if is_opaque(eqn)}
    {'cholesky'}
    """
    primitive = eqn.primitive
    if has_rule(primitive):
        return False
    if primitive.name == HIJAX:
        return not bodies(eqn)
    if is_elementwise_derivative(eqn):
        return True
    return primitive.name in OPAQUE or not is_of_jax(primitive)


def multiplies(eqn: core.JaxprEqn) -> bool:
    """Whether anything in the jaxprs of an equation has to be counted.

    >>> import jax
    >>> program = jax.make_jaxpr(jax.jit(lambda x: x @ x))(jax.numpy.eye(2))
    >>> multiplies(program.eqns[0])
    True
    """
    return any(
        is_product(inner) or is_opaque(inner) or multiplies(inner)
        for body in bodies(eqn)
        for inner in body.eqns
    )


def reads_mutable(eqn: core.JaxprEqn) -> bool:
    """Whether an operand is a mutable array (`jax.Ref`), which equations write to.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda x: jax.new_ref(x)[...])(1.0)
    >>> [reads_mutable(eqn) for eqn in program.eqns]
    [False, True]
    """
    return any(is_mutable(atom.aval) for atom in eqn.invars)


def is_hidden(eqn: core.JaxprEqn) -> bool:
    """Whether an equation, which is no product, has products that cannot be counted.

    >>> import jax
    >>> program = jax.make_jaxpr(jax.jit(lambda x: x @ x))(jax.numpy.eye(2))
    >>> is_hidden(program.eqns[0])
    False
    """
    if is_opaque(eqn):
        return True
    if not multiplies(eqn):
        return False
    if reads_mutable(eqn):
        return True
    name = eqn.primitive.name
    if name == "shard_map":
        return not eqn.params["check_vma"]
    return name not in FOLLOWED and called(eqn) is None


def why_hidden(eqn: core.JaxprEqn) -> str:
    """Why the multiplications of an equation that is hidden cannot be counted.

    >>> import jax
    >>> program = jax.make_jaxpr(jax.lax.linalg.cholesky)(jax.numpy.eye(2))
    >>> [why_hidden(eqn) for eqn in program.eqns if is_hidden(eqn)]
    ['its number of multiplications depends on the algorithm']
    """
    name = eqn.primitive.name
    if not is_opaque(eqn):
        if name == "pallas_call":
            inside = " and ".join(map(repr, dict.fromkeys(_multiplying(eqn))))
            return f"its kernel {eqn.params.get('name')!r} multiplies by {inside}"
        if reads_mutable(eqn):
            return "it multiplies in a loop over mutable arrays (jax.Ref)"
        if name == "shard_map":
            return "it multiplies inside shard_map(check_vma=False)"
        return "it does not say how often what it multiplies is executed"
    if name == HIJAX:
        return "it does not say what it expands to"
    if is_elementwise_derivative(eqn):
        return "its function was traced before, with derivatives that are elementwise"
    return OPAQUE.get(name, "JAX does not define this primitive")


def _multiplying(eqn: core.JaxprEqn) -> Iterator[str]:
    """The names of the equations inside another that multiply."""
    for body in bodies(eqn):
        for inner in body.eqns:
            if is_product(inner) or is_opaque(inner):
                yield name_of(inner)
            else:
                yield from _multiplying(inner)


def refuse_hidden(jaxpr: core.Jaxpr) -> None:
    """Refuses a program with products that cannot be counted, by their names.

    Raises:
      ValueError: there are such products.

    >>> import jax
    >>> refuse_hidden(jax.make_jaxpr(jax.numpy.linalg.cholesky)(jax.numpy.eye(2)).jaxpr)
    Traceback (most recent call last):
    ValueError: cost.count cannot count the multiplications of 'cholesky': it counts ...
    """
    found = sorted(_hidden(jaxpr, ()), key=lambda item: item[0])
    if not found:
        return
    names = " and ".join(map(repr, dict.fromkeys(name for name, *_ in found)))
    reasons = {name: why for name, _, why in reversed(found)}
    path = found[0][1]
    raise ValueError(
        f"cost.count cannot count the multiplications of {names}"
        f"{' in ' + '/'.join(path) if path else ''}: it counts convolutions and matrix "
        "products (dense, ragged, scaled, and of BCOO and BCSR matrices), also inside "
        "jit, remat, custom derivatives, loops, branches and "
        "shard_map(check_vma=True). Of "
        + "; of ".join(f"{name!r}: {why}" for name, why in sorted(reasons.items()))
        + ". cost.register takes a rule for a primitive, and opaque='list' lists them"
    )


def _hidden(jaxpr: core.Jaxpr, path: Path) -> Iterator[tuple[str, Path, str]]:
    for eqn in jaxpr.eqns:
        here = (*path, *path_of(eqn.source_info.name_stack))
        if is_product(eqn):
            continue
        if is_hidden(eqn):
            yield name_of(eqn), here, why_hidden(eqn)
        elif multiplies(eqn):
            for body in bodies(eqn):
                yield from _hidden(body, here)
