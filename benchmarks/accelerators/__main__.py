"""Errors of the accelerator models against published numbers, good and bad.

COMMAND
  python -m benchmarks.accelerators            two CPU cores: about 2 minutes
  python -m benchmarks.accelerators --sources  the sources of the models' numbers

Prints the tables of docs/accelerators.md. Zeros are drawn independently of each other
at published densities, with fixed seeds.
"""

import itertools
from collections.abc import Iterable, Mapping

import numpy as np
import tyro

from benchmarks.accelerators import convolutions, energies, eyeriss, products
from benchmarks.accelerators.comparison import Row
from benchmarks.accelerators.published import EYERISS_LAYERS
from dst_jax.cost import accelerators, energy

SECTIONS = {
    "Eyeriss v2: one element on real masks": products.element_rows,
    "The same by densities": products.density_rows,
    "Tensor cores: ResNet50's products on 1024 multipliers": products.tensor_core_rows,
    "Dual-side tensor core: 4096^3": products.dstc_rows,
    "EIE": products.eie_rows,
    "SCNN: synthetic densities": convolutions.scnn_rows,
    "SCNN: few large elements or many small ones": convolutions.scnn_grid_rows,
    "Whole networks, convolutions": convolutions.network_rows,
    "SparTen: expected against counted": convolutions.popcount_rows,
    "Eyeriss: compression of DRAM words": eyeriss.dram_ratio_rows,
    "Eyeriss: lower bound of DRAM traffic": eyeriss.one_pass_rows,
    "Eyeriss: traffic": eyeriss.traffic_rows,
    "Eyeriss: time": eyeriss.time_rows,
    "Eyeriss: chip energy by the table fitted to these rows": eyeriss.energy_rows,
    "Energy of tensor cores": energies.tensor_rows,
    "Energy of tensor cores, relative": energies.ratio_rows,
    "Energy of SCNN": energies.scnn_energy_rows,
    "Eyeriss v2: speed and energy of the chip": energies.chip_rows,
}


def main(sources: bool = False, only: str = "") -> None:
    """Prints the errors, or the sources.

    Args:
      sources: Whether to print the sources of the models' numbers instead.
      only: words that a section's title has to contain.
    """
    if sources:
        show_sources()
        return
    for title, rows in SECTIONS.items():
        if only in title:
            show(title, rows())
    if only:
        return
    print("\n### Eyeriss: chip energy, held out\n")
    vgg = [row for row in EYERISS_LAYERS if row.name.startswith("V")]
    alexnet = [row for row in EYERISS_LAYERS if row.name.startswith("A")]
    one_out = eyeriss.leave_one_out()
    print(f"- leave one layer out: {summary(one_out)}")
    transfer = eyeriss.fit_errors(vgg, alexnet)
    errors = ", ".join(f"{100 * e:+.1f}" for e in transfer)
    print(f"- fitted to VGG16, tried on AlexNet: {errors} %")


def show_sources() -> None:
    """Prints the numbers of presets and energy tables; what all share stands first."""
    presets = {name: accelerators.sources(name) for name in accelerators.names()}
    shared = {
        field: row
        for field, row in presets["dense"].items()
        if all(found[field] == row for found in presets.values() if field in found)
        and all(field in found for found in presets.values())
    }
    for name, rows in {"all presets": shared, **presets}.items():
        if name != "all presets":
            rows = {k: row for k, row in rows.items() if shared.get(k) != row}
        show_numbers(name, rows)
    for name in energy.names():
        found = energy.sources(name)
        show_numbers(f"energy: {name}", {k: x for k, x in found.items() if x.value})


def show_numbers(title: str, rows: Mapping[str, accelerators.NumberSource]) -> None:
    """Prints numbers with their sources as a Markdown table."""
    print(f"\n### {title}\n\n| number | default | status | source |")
    print("|---|---|---|---|")
    for field, row in rows.items():
        value = f"{row.value:g}" if isinstance(row.value, float) else row.value
        print(f"| {field} | {value} | {row.status} | {row.source} |")


def show(title: str, rows: Iterable[Row]) -> None:
    """Prints a section as a Markdown table, and a line of errors per preset."""
    found = list(rows)
    before = any(row.before is not None for row in found)
    former = " before | error before |" if before else ""
    print(f"\n### {title}\n\n| preset | what | published |{former} model | error |")
    print("|---" * (7 if before else 5) + "|")
    for row in found:
        cells = [row.design, row.what, plain(row.published)]
        if row.before is not None:
            cells += [plain(row.before), percent(row.before / row.published - 1)]
        cells += [plain(row.model), percent(row.error)]
        print(f"| {' | '.join(cells)} |")
    print()
    ordered = sorted(found, key=lambda row: row.design)
    for design, group in itertools.groupby(ordered, key=lambda row: row.design):
        print(f"- {design}: {summary(np.array([row.error for row in group]))}")


def plain(x: float) -> str:
    """Four digits, or all before the point."""
    return f"{x:,.0f}" if x >= 1000 else f"{x:.4g}"


def percent(x: float) -> str:
    """A signed share in percent.

    >>> percent(-0.105)
    '-10.5 %'
    """
    return f"{100 * x:+.1f} %"


def summary(errors: np.ndarray) -> str:
    """The mean and the largest absolute error."""
    size = 100 * np.abs(errors)
    return f"mean |error| {size.mean():.1f} %, largest {size.max():.1f} %"


if __name__ == "__main__":
    tyro.cli(main)
