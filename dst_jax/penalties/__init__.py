"""Penalties `R(x) -> scalar` on activation maps and weights, and their prox."""

from dst_jax.penalties import adaptive
from dst_jax.penalties.capped_l1 import capped_l1, prox_capped_l1
from dst_jax.penalties.cauchy import cauchy, prox_cauchy
from dst_jax.penalties.geman import geman, prox_geman
from dst_jax.penalties.group_lasso import group_lasso, prox_group_lasso
from dst_jax.penalties.hoyer import hoyer, hoyer_square, hoyer_square_batch
from dst_jax.penalties.l0 import l0, prox_l0
from dst_jax.penalties.l1 import l1, prox_l1
from dst_jax.penalties.l1_minus_l2 import l1_minus_l2, prox_l1_minus_l2
from dst_jax.penalties.laplace import laplace, prox_laplace
from dst_jax.penalties.log_sum import log_sum, prox_log_sum
from dst_jax.penalties.lp import (
    l_half,
    l_two_thirds,
    lp,
    prox_l_half,
    prox_l_two_thirds,
)
from dst_jax.penalties.mcp import mcp, prox_mcp
from dst_jax.penalties.registry import get, get_prox, names, options
from dst_jax.penalties.scad import prox_scad, scad
from dst_jax.penalties.total import total
from dst_jax.penalties.transformed_l1 import prox_transformed_l1, transformed_l1

__all__ = [
    "adaptive",
    "capped_l1",
    "cauchy",
    "geman",
    "get",
    "get_prox",
    "group_lasso",
    "hoyer",
    "hoyer_square",
    "hoyer_square_batch",
    "l0",
    "l1",
    "l1_minus_l2",
    "l_half",
    "l_two_thirds",
    "laplace",
    "log_sum",
    "lp",
    "mcp",
    "names",
    "options",
    "prox_capped_l1",
    "prox_cauchy",
    "prox_geman",
    "prox_group_lasso",
    "prox_l0",
    "prox_l1",
    "prox_l1_minus_l2",
    "prox_l_half",
    "prox_l_two_thirds",
    "prox_laplace",
    "prox_log_sum",
    "prox_mcp",
    "prox_scad",
    "prox_transformed_l1",
    "scad",
    "total",
    "transformed_l1",
]
