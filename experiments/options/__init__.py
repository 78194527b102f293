"""Options of the experiments: a file for each subject.

A file holds the dataclass with a range next to each option, the checks of what options
contradict each other, and what the options build. Nothing here imports JAX before
something is built, so that a command line is read, or refused, at once.
"""

from experiments.options.activation import ActivationOptions
from experiments.options.channels import ChannelOptions
from experiments.options.config import Config
from experiments.options.data import DataOptions
from experiments.options.east import EastOptions
from experiments.options.init import InitOptions
from experiments.options.model import ModelOptions
from experiments.options.optim import OptimOptions
from experiments.options.pretrain import PretrainOptions
from experiments.options.prune import PruneOptions
from experiments.options.relaxation import RelaxationOptions
from experiments.options.run import RunOptions
from experiments.options.stage import StageOptions
from experiments.options.task import TaskOptions

__all__ = [
    "ActivationOptions",
    "ChannelOptions",
    "Config",
    "DataOptions",
    "EastOptions",
    "InitOptions",
    "ModelOptions",
    "OptimOptions",
    "PretrainOptions",
    "PruneOptions",
    "RelaxationOptions",
    "RunOptions",
    "StageOptions",
    "TaskOptions",
]
