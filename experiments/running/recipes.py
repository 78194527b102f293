"""The presets that experiments on the same data share."""

from dataclasses import replace

from experiments.options import (
    ActivationOptions,
    Config,
    DataOptions,
    EastOptions,
    InitOptions,
    ModelOptions,
    OptimOptions,
    PretrainOptions,
    PruneOptions,
    RunOptions,
)

__all__ = ["cifar100", "east", "east_presets", "imagenet"]


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


def east(
    model: ModelOptions, *, data: DataOptions, sparsity: float, preset: str
) -> Config:
    """Training from scratch with all parts of EAST, by its code's recipe for CIFAR.

    250 epochs of batches of 128, a tenth of the training set kept apart; SGD with
    Nesterov momentum 0.9, weight decay 5e-4 (the code's default; one script has 1e-4),
    learning rate 0.1 times 0.1 at a half and at three quarters, gradients clipped to
    norm 1. Two cycles of 50 epochs up to 3 times the density, masks updated every 100
    steps in them and every 4000 after them; DyReLUs to a quarter of the training, then
    phased out to one epoch before its half; two blocks of a stage own their
    convolutions. Images are padded by 0, also those of CIFAR-10, where the code
    reflects them.

    Args:
      model: the network.
      data: the data.
      sparsity: share of the weights of the network that shares nothing.
      preset: name of the preset.

    >>> config = east(
    ...     ModelOptions(name="resnet34"), data=DataOptions(name="cifar10"),
    ...     sparsity=0.999, preset="full")
    >>> config.prune.finetune_epochs
    250
    """
    return Config(
        preset=preset,  # type: ignore[arg-type]
        data=data,
        model=model,
        optim=OptimOptions(
            nesterov=True, weight_decay=5e-4, decay="step", factor=0.1, clip=1.0
        ),
        prune=PruneOptions(
            method="east",
            method_options=("interval=4000", "cycle_interval=100", "period=50ep"),
            sparsity=sparsity,
            induce_epochs=0,
            finetune_epochs=250,
            lr=0.1,
        ),
        pretrain=PretrainOptions(epochs=0),
        east=EastOptions(dyrelu=True, owners=2),
        run=RunOptions(stages=("pretrain", "sparsify_weights"), log_every=100),
    )


def east_presets(network: str, data: str) -> dict[str, Config]:
    """The presets of an experiment with EAST on CIFAR, at 99.9, 99.95 and 99.99 %.

    `small` and `demo` are ours: a quarter of the width, lengths in shares of the
    training.

    Args:
      network: name of a residual network.
      data: name of the data set.

    >>> [*east_presets("resnet34", "cifar10")]
    ['full', 'full_9995', 'full_9999', 'small', 'demo']
    """
    whole = DataOptions(name=data, batch_size=128, eval_batch_size=250, holdout=0.1)
    targets = {"full": 0.999, "full_9995": 0.9995, "full_9999": 0.9999}
    found = {
        preset: east(
            ModelOptions(name=network, stem="cifar"),
            data=whole,
            sparsity=sparsity,
            preset=preset,
        )
        for preset, sparsity in targets.items()
    }
    narrow = ModelOptions(name=network, stem="cifar", width=0.25)
    small = replace(found["full"], preset="small", model=narrow)
    shares = ("interval=4%", "cycle_interval=1%", "period=20%")
    prune = replace(small.prune, method_options=shares, finetune_epochs=20)
    found["small"] = replace(
        small,
        data=replace(whole, image_size=16),
        prune=prune,
        run=replace(small.run, log_every=50),
    )
    found["demo"] = replace(
        found["small"],
        preset="demo",
        data=DataOptions(
            name="digits", image_size=16, batch_size=64, eval_batch_size=120
        ),
        prune=replace(prune, sparsity=0.99, finetune_epochs=12),
        run=replace(small.run, log_every=10),
    )
    return found
