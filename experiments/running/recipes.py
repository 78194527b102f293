"""The presets that experiments on the same data share."""

from experiments.options import (
    ActivationOptions,
    Config,
    DataOptions,
    InitOptions,
    ModelOptions,
    OptimOptions,
    PretrainOptions,
    PruneOptions,
    RunOptions,
)

__all__ = ["cifar100", "imagenet"]


def imagenet(model: ModelOptions, *, batch_size: int = 256) -> Config:
    """Dual sparse training on ImageNet.

    The paper starts from torchvision's weights, spends 20 epochs each on the penalty on
    weights, the fine-tuning of what is left and the penalty on activations, and
    publishes neither strengths nor the optimizer: those here are ours, not tuned.

    Args:
      model: the network.
      batch_size: training images per step.

    >>> imagenet(ModelOptions(name="resnet18")).activation.epochs
    20
    """
    return Config(
        preset="full",
        data=DataOptions(
            name="imagenet2012", batch_size=batch_size, eval_batch_size=256
        ),
        model=model,
        optim=OptimOptions(warmup_epochs=5),
        pretrain=PretrainOptions(epochs=90, lr=0.1),
        prune=PruneOptions(
            sparsity=0.6, strength=1e-5, induce_epochs=20, finetune_epochs=20
        ),
        activation=ActivationOptions(strength=1e-7, epochs=20),
        run=RunOptions(log_every=100),
    )


def cifar100(model: ModelOptions, *, strength: float) -> Config:
    """A baseline on CIFAR-100 and Transformed l1 on its activations.

    Pre-training is weiaicunzai/pytorch-cifar100's, on which the paper's baselines rest:
    200 epochs of batches of 128, SGD with momentum 0.9 and weight decay 5e-4, learning
    rate 0.1 times 0.2 at epochs 60, 120 and 160, one epoch of warm-up. Rotation by up
    to 15 degrees is left out. The activation stage is 20 epochs long as in the paper;
    its learning rate and strength are ours.

    Args:
      model: the network.
      strength: strength of the penalty.

    >>> cifar100(ModelOptions(name="resnet18"), strength=1e-6).optim.milestones
    (0.3, 0.6, 0.8)
    """
    return Config(
        preset="full",
        data=DataOptions(name="cifar100", batch_size=128, eval_batch_size=250),
        model=model,
        optim=OptimOptions(
            weight_decay=5e-4,
            decay="step",
            milestones=(0.3, 0.6, 0.8),
            factor=0.2,
            warmup_epochs=1,
        ),
        pretrain=PretrainOptions(epochs=200, lr=0.1),
        activation=ActivationOptions(strength=strength, epochs=20, lr=0.01),
        init=InitOptions(),
        run=RunOptions(stages=("pretrain", "sparsify_activations"), control=True),
    )
