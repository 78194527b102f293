"""Dual sparse training (Yu & Tian 2024): a penalty on weights, a mask, on activations.

The paper's pipeline is `pretrain`, `sparsify_weights`, `sparsify_activations`.
"""

from dataclasses import replace
from functools import partial

from dst_jax import checks, penalties, pruning
from dst_jax.runs import GIVEN, UNTRAINED
from dst_jax.train.objective import Objective
from dst_jax.train.optimizer import Optimizer, sgd
from dst_jax.train.stage import Stage
from dst_jax.train.stages.hooks import (
    Patterning,
    Prune,
    Thresholding,
    choose_mask,
    no_mask,
    one_after_another,
)
from dst_jax.train.terms import Target, Term
from dst_jax.typing import Rules

__all__ = [
    "control",
    "dual_sparse",
    "initial",
    "pretrain",
    "sparsify_activations",
    "sparsify_weights",
    "title",
]


def dual_sparse(
    *,
    sparsity: float,
    optimizer: Optimizer | None = None,
    strength: float = 1e-5,
    weight_strength: float = 1e-5,
    pretrain_epochs: float = 10,
    induce_epochs: float = 2,
    finetune_epochs: float = 3,
    activation_epochs: float = 5,
) -> list[Stage]:
    """The paper's three stages: trained, weights pruned, activation maps made sparse.

    The penalties are l1 on kernels and Transformed l1 on the map at every tap; the mask
    is of the largest weights of all kernels together. What else there is to choose is
    an argument of the functions below.

    Args:
      sparsity: share of the weights that is pruned, in [0, 1).
      optimizer: the optimizer of all stages; `train.sgd(0.05)` by default.
      strength: strength of the penalty on maps: a sum over their elements, a mean over
        the batch.
      weight_strength: strength of the penalty on weights before they are pruned.
      pretrain_epochs: epochs of dense training.
      induce_epochs: epochs with the penalty on weights; 0 leaves it out.
      finetune_epochs: epochs with the mask.
      activation_epochs: epochs with the mask and the penalty on maps.

    Raises:
      ValueError: a value is out of range.

    Reference: Yu & Tian 2024, "Dual sparse training framework".

    >>> found = dual_sparse(sparsity=0.6)
    >>> [stage.title for stage in found]
    ['dense baseline', 'pruned', 'pruned', 'dual sparse']
    """
    checks.fraction("sparsity", sparsity)
    checks.at_least("strength", strength, 0)
    checks.at_least("weight_strength", weight_strength, 0)
    optimizer = sgd(0.05) if optimizer is None else optimizer
    return [
        pretrain(epochs=pretrain_epochs, optimizer=optimizer),
        *sparsify_weights(
            prune=partial(pruning.masks.magnitude, sparsity=sparsity),
            induce_epochs=induce_epochs,
            finetune_epochs=finetune_epochs,
            optimizer=optimizer,
            penalty=Term(penalties.l1, weight_strength),
            start="pretrain",
        ),
        *sparsify_activations(
            epochs=activation_epochs,
            optimizer=optimizer,
            penalty=Term(penalties.transformed_l1, strength),
            start="sparsify_weights",
        ),
    ]


def initial(optimizer: Optimizer) -> Stage:
    """The given network as it is: the baseline row of a run that loads one.

    Args:
      optimizer: never used, as the stage has no steps.

    >>> from dst_jax import train
    >>> initial(lambda **_: train.chain(0.1)).epochs
    0
    """
    return Stage(name="initial", title=GIVEN, epochs=0, optimizer=optimizer)


def pretrain(*, epochs: float, optimizer: Optimizer) -> Stage:
    """Dense training, stage one of the paper.

    Args:
      epochs: length of the stage; 0 is an untrained start, which methods that train
        from scratch have.
      optimizer: the stage's.

    >>> from dst_jax import train
    >>> pretrain(epochs=90, optimizer=lambda **_: train.chain(0.1)).title
    'dense baseline'
    >>> pretrain(epochs=0, optimizer=lambda **_: train.chain(0.1)).title
    'untrained start'
    """
    return Stage(
        name="pretrain",
        title="dense baseline" if epochs else UNTRAINED,
        epochs=epochs,
        optimizer=optimizer,
        on_entry=no_mask,
    )


def control(*, epochs: float, optimizer: Optimizer, start: str) -> Stage:
    """The dense control: the baseline trained as long, without penalties or pruning.

    What a sparse network gains over its baseline may be due to the longer training;
    what it gains over this is due to sparsity.

    Args:
      epochs: length of the stage, as long as all sparse stages together.
      optimizer: the stage's.
      start: name of the stage that trained the baseline.

    >>> from dst_jax import train
    >>> sgd = lambda **_: train.chain(0.1)
    >>> control(epochs=40, optimizer=sgd, start="pretrain").title
    'dense control'
    """
    return Stage(
        name="control",
        title="dense control",
        epochs=epochs,
        optimizer=optimizer,
        on_entry=no_mask,
        start=start,
    )


def sparsify_weights(
    *,
    prune: Prune,
    induce_epochs: float,
    finetune_epochs: float,
    optimizer: Optimizer,
    penalty: Term | None,
    start: str | None,
    activation: Term | None = None,
    flops_aware: bool = False,
    prunable: Rules = (),
) -> list[Stage]:
    """Stage two of the paper: a penalty on weights, pruning, fine-tuning.

    With `activation`, activations are sparsified at the same time: joint training,
    a stage named `sparsify_jointly`.

    Args:
      prune: the mask from the weights after induction.
      induce_epochs: epochs with the penalty; 0 leaves induction out.
      finetune_epochs: epochs with the mask and no penalty on weights.
      optimizer: the optimizer of both.
      penalty: the term over prunable weights.
      start: name of the stage to start from.
      activation: a term over activation maps in both, or None.
      flops_aware: as in `Stage`, for that term.
      prunable: `((regex, bool), ...)`: which weights the penalty sees.

    >>> from functools import partial
    >>> from dst_jax import penalties, pruning, train
    >>> both = sparsify_weights(
    ...     prune=partial(pruning.masks.magnitude, sparsity=0.6),
    ...     induce_epochs=20, finetune_epochs=20, start="pretrain",
    ...     optimizer=lambda **_: train.chain(0.1), penalty=Term(penalties.l1, 1e-5))
    >>> [stage.path for stage in both]
    ['sparsify_weights.induce', 'sparsify_weights.finetune']
    """
    name = "sparsify_weights" if activation is None else "sparsify_jointly"
    shared = () if activation is None else (activation,)
    finetune = Stage(
        name=name,
        phase="finetune",
        title=title(name, start),
        epochs=finetune_epochs,
        optimizer=optimizer,
        objective=Objective(terms=shared),
        on_entry=choose_mask(prune),
        start=start if induce_epochs == 0 else None,
        flops_aware=flops_aware,
    )
    if induce_epochs == 0:
        return [finetune]
    terms = shared
    if penalty is not None:
        terms += (replace(penalty, over="weights", prunable=prunable),)
    induce = replace(
        finetune,
        phase="induce",
        epochs=induce_epochs,
        objective=Objective(terms=terms),
        on_entry=None,
        start=start,
    )
    return [induce, finetune]


def sparsify_activations(
    *,
    epochs: float,
    optimizer: Optimizer,
    penalty: Term,
    start: str | None,
    target: Target | None = None,
    flops_aware: bool = False,
    thresholding: Thresholding | None = None,
    threshold_epochs: float | None = None,
    patterning: Patterning | None = None,
) -> list[Stage]:
    """Stage three of the paper: a penalty on activation maps, the mask held.

    Args:
      epochs: length of the stage.
      optimizer: the stage's.
      penalty: the term over activation maps.
      start: name of the stage to start from.
      target: adapts the strength to a sparsity, starting from the term's.
      flops_aware: as in `Stage`.
      thresholding: threshold of the maps, from the beginning (penalty and threshold
        together, in the spirit of STAR), or
      threshold_epochs: epochs with both after `epochs` with the penalty alone, as in
        ProSparse: a second phase.
      patterning: N:M patterns of the maps, from the beginning.

    >>> from dst_jax import penalties, train
    >>> (stage,) = sparsify_activations(
    ...     epochs=20, optimizer=lambda **_: train.chain(0.1), start="sparsify_weights",
    ...     penalty=Term(penalties.transformed_l1, 1e-7, {"a": 1.0}))
    >>> stage.title
    'dual sparse'
    """
    name = "sparsify_activations"
    if target is not None:
        penalty = replace(penalty, target=target)
    at_first = thresholding if threshold_epochs is None else None
    first = Stage(
        name=name,
        phase=name if threshold_epochs is None else "penalise",
        title=title(name, start),
        epochs=epochs,
        optimizer=optimizer,
        objective=Objective(terms=(penalty,)),
        on_entry=one_after_another(at_first, patterning),
        start=start,
        flops_aware=flops_aware,
    )
    if threshold_epochs is None:
        return [first]
    # Without a warm-up: the strength has risen in the first phase.
    risen = Objective(terms=(replace(penalty, warmup=0),))
    second = replace(
        first,
        phase="threshold",
        epochs=threshold_epochs,
        objective=risen,
        on_entry=thresholding,
        start=None,
    )
    return [first, second]


def title(name: str, start: str | None) -> str:
    """What a stage leaves behind, in the words of the paper's Table 3.

    >>> title("sparsify_weights", "pretrain"), title("sparsify_jointly", "pretrain")
    ('pruned', 'dual sparse')
    """
    alone = {"sparsify_weights": "pruned", "sparsify_activations": "activation-sparse"}
    if name not in alone or ({name, start} == alone.keys()):
        return "dual sparse"
    return alone[name]
