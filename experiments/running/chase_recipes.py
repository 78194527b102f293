"""The presets of the experiments with Chase, which train from scratch."""

from dataclasses import replace

from experiments.options import (
    Config,
    DataOptions,
    ModelOptions,
    OptimOptions,
    PretrainOptions,
    PruneOptions,
    RunOptions,
)

__all__ = ["chase_on_cifar", "chase_on_imagenet"]

_SHARES = (
    "interval=2%", "channel_interval=4%", "channel_end=80%", "explore_end=80%",
)  # fmt: skip
"""Lengths of the short presets; the published ones are steps and epochs."""


def chase_on_cifar(
    model: ModelOptions, *, channel_interval: int, floor: float, groups: str = "inner"
) -> dict[str, Config]:
    """The presets for CIFAR-100: 90 % of the weights, half of the channels.

    The authors' code: 160 epochs of batches of 100, SGD with momentum 0.9, weight decay
    5e-4, learning rate 0.1 times 0.1 at a half and at three quarters; weights every
    1000 steps, of all layers together, under a bound of 5 % of the weights that ends
    after 130 epochs, as the removals of channels do. It chooses the best epoch on the
    test set and decays all parameters; here a tenth of the training set is kept apart,
    the last epoch counts, and kernels decay. `small` and `demo` are ours.

    Args:
      model: the network.
      channel_interval: steps between removals of channels.
      floor: the published beta.
      groups: which groups of channels may lose units.

    >>> found = chase_on_cifar(ModelOptions("resnet50"), channel_interval=9, floor=0.5)
    >>> [*found], found["full"].prune.finetune_epochs
    (['full', 'small', 'demo'], 160)
    """
    fixed = (f"groups={groups}", "channel_sparsity=0.5", f"floor={floor}")
    published = (
        "interval=1000", f"channel_interval={channel_interval}", "channel_end=130ep",
        "explore_end=130ep",
    )  # fmt: skip
    full = _from_scratch(
        model,
        (*fixed, *published),
        data=DataOptions(name="cifar100", batch_size=100, eval_batch_size=250),
        optim=OptimOptions(weight_decay=5e-4, decay="step"),
        epochs=160,
        lr=0.1,
    )
    small = DataOptions(
        name="cifar100", image_size=_side(model), batch_size=100, eval_batch_size=250
    )
    return {"full": full} | _short(full, small, (*fixed, *_SHARES))


def chase_on_imagenet(model: ModelOptions) -> dict[str, Config]:
    """The presets for ImageNet: 90 % of the weights, 40 % of the channels.

    The authors' code and script: 100 epochs of batches of 512, SGD with momentum 0.9,
    weight decay 1e-4 (not of normalisations), learning rate 0.512 after 8 epochs of
    warm-up, a cosine to 0, label smoothing 0.1; channels every 2 epochs and weights
    every 1000 steps, each layer by itself, under a bound that falls from 5 to 0.5 % of
    the weights in 80 epochs. Whether the rows of the paper compared all layers together
    is not known. `small` and `demo` are ours.

    Args:
      model: the network.

    >>> chase_on_imagenet(ModelOptions("resnet50"))["full"].optim.label_smoothing
    0.1
    """
    fixed = ("channel_sparsity=0.4", "floor=0.2", "final_slack=0.005", "scope=layer")
    published = (
        "interval=1000", "channel_interval=2ep", "channel_end=80ep", "explore_end=80ep",
    )  # fmt: skip
    full = _from_scratch(
        model,
        (*fixed, *published),
        data=DataOptions(name="imagenet2012", batch_size=512, eval_batch_size=256),
        optim=OptimOptions(warmup_epochs=8, label_smoothing=0.1),
        epochs=100,
        lr=0.512,
    )
    small = DataOptions(
        name="imagenette", image_size=64, batch_size=64, eval_batch_size=157
    )
    return {"full": full} | _short(full, small, (*fixed, *_SHARES))


def _from_scratch(
    model: ModelOptions,
    options: tuple[str, ...],
    *,
    data: DataOptions,
    optim: OptimOptions,
    epochs: float,
    lr: float,
) -> Config:
    """Training with Chase from scratch."""
    return Config(
        preset="full",
        data=data,
        model=model,
        optim=optim,
        pretrain=PretrainOptions(epochs=0),
        prune=PruneOptions(
            method="chase",
            method_options=options,
            sparsity=0.9,
            induce_epochs=0,
            finetune_epochs=epochs,
            lr=lr,
        ),
        run=RunOptions(stages=("pretrain", "sparsify_weights"), log_every=100),
    )


def _short(
    full: Config, data: DataOptions, options: tuple[str, ...]
) -> dict[str, Config]:
    """A quarter of the width in 20 epochs, and on the bundled digits in 12."""
    small = replace(
        full,
        preset="small",
        data=data,
        model=replace(full.model, width=0.25),
        optim=replace(full.optim, warmup_epochs=min(full.optim.warmup_epochs, 1)),
        prune=replace(full.prune, method_options=options, finetune_epochs=20, lr=0.1),
        run=replace(full.run, log_every=20),
    )
    demo = replace(
        small,
        preset="demo",
        data=DataOptions(
            name="digits",
            image_size=_side(full.model),
            batch_size=64,
            eval_batch_size=120,
        ),
        model=replace(small.model, stem="cifar"),
        prune=replace(small.prune, finetune_epochs=12),
        run=replace(small.run, log_every=10),
    )
    return {"small": small, "demo": demo}


def _side(model: ModelOptions) -> int:
    """The side of the images of a short preset; VGG halves them five times."""
    return 32 if model.name.startswith("vgg") else 16
