"""Training: stages as values, one jitted step, resumable to the bit."""

from dst_jax.train import per_layer, records, stages, tasks
from dst_jax.train.console import Console
from dst_jax.train.context import Context
from dst_jax.train.estimates import EXAMPLES, estimate, operand_masks
from dst_jax.train.evaluate import Evaluation, evaluate
from dst_jax.train.events import Events
from dst_jax.train.finite import NonFiniteLoss, NonFiniteNetwork
from dst_jax.train.interrupt import Interrupt, Interrupted
from dst_jax.train.objective import Objective
from dst_jax.train.optimizer import chain, learning_rate, sgd
from dst_jax.train.pipeline import rehearse, train
from dst_jax.train.saved_network import load_weights
from dst_jax.train.sharding import make_mesh, replicated
from dst_jax.train.stage import Stage
from dst_jax.train.stage_run import run_stage
from dst_jax.train.state import TrainState
from dst_jax.train.step import make_eval_step, make_train_step
from dst_jax.train.storage import storage
from dst_jax.train.tensorboard import TensorBoard
from dst_jax.train.terms import Target, Term
from dst_jax.train.weights_and_biases import WeightsAndBiases

__all__ = [
    "EXAMPLES",
    "Console",
    "Context",
    "Evaluation",
    "Events",
    "Interrupt",
    "Interrupted",
    "NonFiniteLoss",
    "NonFiniteNetwork",
    "Objective",
    "Stage",
    "Target",
    "TensorBoard",
    "Term",
    "TrainState",
    "WeightsAndBiases",
    "chain",
    "estimate",
    "evaluate",
    "learning_rate",
    "load_weights",
    "make_eval_step",
    "make_mesh",
    "make_train_step",
    "operand_masks",
    "per_layer",
    "records",
    "rehearse",
    "replicated",
    "run_stage",
    "sgd",
    "stages",
    "storage",
    "tasks",
    "train",
]
