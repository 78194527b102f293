"""Training: stages as values, one jitted step, resumable to the bit."""

from dst_jax.train import stages
from dst_jax.train.checkpoint import load_weights
from dst_jax.train.evaluate import Evaluation, evaluate
from dst_jax.train.interrupt import Interrupted
from dst_jax.train.loop import NonFiniteLoss
from dst_jax.train.objective import Objective, Term
from dst_jax.train.optimizer import chain, learning_rate
from dst_jax.train.pipeline import train
from dst_jax.train.progress import Narrator
from dst_jax.train.records import provenance
from dst_jax.train.setup import Setup
from dst_jax.train.sharding import make_mesh, replicated
from dst_jax.train.stages import Stage
from dst_jax.train.state import TrainState, Weights
from dst_jax.train.step import make_eval_step, make_train_step

__all__ = [
    "Evaluation",
    "Interrupted",
    "Narrator",
    "NonFiniteLoss",
    "Objective",
    "Setup",
    "Stage",
    "Term",
    "TrainState",
    "Weights",
    "chain",
    "evaluate",
    "learning_rate",
    "load_weights",
    "make_eval_step",
    "make_mesh",
    "make_train_step",
    "provenance",
    "replicated",
    "stages",
    "train",
]
