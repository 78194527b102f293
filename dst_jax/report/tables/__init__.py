"""Tables of a report, and the lists of where each is shown.

A new table is a function in one of these files and its line here. A table without rows
is not shown.
"""

from dst_jax.report.run_results import RunResults
from dst_jax.report.tables.accelerator_estimates import (
    accelerator_names,
    cycles_per_layer,
    on_accelerators,
)
from dst_jax.report.tables.channels import channels, kernel_shapes, smaller_networks
from dst_jax.report.tables.main_results import stages
from dst_jax.report.tables.per_layer import (
    kernels,
    maps,
    products,
    unions,
    weight_products,
)
from dst_jax.report.tables.run_facts import facts, settings
from dst_jax.report.tables.stage_costs import costs, drift
from dst_jax.report.tables.storage_formats import storage
from dst_jax.report.tables.table import Table
from dst_jax.report.tables.training_costs import training, training_per_layer

__all__ = ["above_figures", "below_figures", "in_terminal", "unfolding"]


def above_figures(run: RunResults) -> list[Table]:
    """The tables of the page that come before the figures.

    >>> from pathlib import Path
    >>> [table.title for table in above_figures(RunResults(Path("run"), ()))]
    ['Accuracy, sparsity, multiplications', 'Networks made smaller', 'On modelled ...']
    """
    return [stages(run), smaller_networks(run), on_accelerators(run)]


def below_figures(run: RunResults) -> list[Table]:
    """The tables of the page that come after the figures.

    >>> from pathlib import Path
    >>> [table.title for table in below_figures(RunResults(Path("run"), ()))]
    ['Multiplications of training', "Drift from the dense baseline's weights", ...]
    """
    return [training(run), drift(run), costs(run), facts(run)]


def unfolding(run: RunResults) -> list[Table]:
    """The tables of the page that unfold on a click, layer by layer.

    >>> from pathlib import Path
    >>> [table.title for table in unfolding(RunResults(Path("run"), ()))]
    ['Channels per group', 'Channels per layer', 'Activation sparsity per layer', ...]
    """
    return [
        channels(run),
        kernel_shapes(run),
        maps(run),
        unions(run),
        kernels(run),
        *(products(stage) for stage in run.stages),
        *(training_per_layer(run, stage) for stage in run.stages),
        *(storage(stage) for stage in run.stages),
        *(weight_products(stage) for stage in run.stages),
        *(cycles_per_layer(run, name) for name in accelerator_names(run)),
        settings(run),
    ]


def in_terminal(run: RunResults) -> list[Table]:
    """The tables that are printed.

    >>> from pathlib import Path
    >>> [table.title for table in in_terminal(RunResults(Path("run"), ()))][0]
    'Accuracy, sparsity, multiplications'
    """
    return [
        stages(run),
        smaller_networks(run),
        channels(run),
        on_accelerators(run),
        training(run),
        drift(run),
    ]
