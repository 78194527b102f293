"""A finished run's operands for simulators of hardware: masks, and layers by shape.

COMMAND
  python -m experiments.traces RUN_DIR --images 8 --out masks.npz
  python -m experiments.traces RUN_DIR --out masks.npz --timeloop problems
  python -m experiments.traces RUN_DIR --out masks.npz --accelforge workload.yaml

Writes, for the network at a stage's end and the first test images:
  masks.npz            what is nonzero as it enters the multipliers of every layer:
                       activations, weights; read by dst_jax.cost.workloads.load
  problems/*.yaml      with --timeloop: a problem for Timeloop and Sparseloop by layer
  workload.yaml        with --accelforge: all layers for AccelForge

docs/hardware_files.md has the format of each.
"""

import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from experiments.options.annotations import AT_LEAST_1, check_ranges
from experiments.running.command_line import parse, status
from experiments.running.finished_run_options import FinishedRunOptions, StageName

if TYPE_CHECKING:
    from dst_jax.cost.workloads import MaskTraces

__all__ = ["Options", "main"]


@dataclass(frozen=True)
class Options(FinishedRunOptions):
    """Which run, and which files."""

    out: str
    """File of the masks; its name must end in .npz."""
    images: Annotated[int, AT_LEAST_1] = 8
    """Number of test images, the first ones."""
    stage: StageName = None
    timeloop: str | None = None
    """Directory of the problems for Timeloop and Sparseloop, one a layer."""
    accelforge: str | None = None
    """File of the workload for AccelForge."""
    value_bits: Annotated[int, AT_LEAST_1] = 16
    """Bits of a stored value in AccelForge's workload."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status.

    Args:
      argv: the arguments; the command line's by default.

    >>> main(["runs/none", "--out", "masks.txt"])
    2
    """
    options = parse(Options, argv, name="traces", doc=__doc__)
    return status(partial(_check, options), lambda _: _trace(options))


def _check(options: Options) -> None:
    check_ranges(options)
    if Path(options.out).suffix != ".npz":
        raise ValueError(f"--out must end in .npz, got {options.out!r}")


def _trace(options: Options) -> None:
    from dst_jax import train
    from dst_jax.cost import workloads
    from experiments.running import finished_run

    context = options.reopen()
    stage = finished_run.stage_of(context.run, options.stage)
    network = finished_run.network_at_end(context, stage)
    context.console.say(f"{stage}: masks of {options.images} test images")
    info = {"run": context.run.path.name, "stage": stage, "images": "first of test"}
    traces = train.operand_masks(context, network, images=options.images, info=info)
    written = [workloads.save(options.out, traces)]
    if options.timeloop is not None:
        written += _write_problems(Path(options.timeloop), traces)
    if options.accelforge is not None:
        found = workloads.accelforge(traces, value_bits=options.value_bits)
        written.append(_write(Path(options.accelforge), found, _comment(traces)))
    _show(written, traces, shapes=len(written) > 1)


def _write_problems(directory: Path, traces: "MaskTraces") -> list[Path]:
    """A file by layer, numbered as in the file of masks."""
    from dst_jax.cost import workloads

    positions = {name: i for i, name in enumerate(traces.layers)}
    files = []
    for name, problem in workloads.timeloop(traces).items():
        plain = re.sub(r"\W", "_", name)
        path = directory / f"{positions[name]:03}_{plain}.yaml"
        files.append(_write(path, problem, f"{name}\n{_comment(traces)}"))
    return files


def _write(path: Path, record: dict[str, Any], comment: str) -> Path:
    from dst_jax.runs import to_yaml, write_text

    write_text(path, to_yaml(record, comment=comment))
    return path


def _comment(traces: "MaskTraces") -> str:
    info = traces.info
    return (
        f"One image; densities measured on {traces.images} test images.\n"
        f"Run {info['run']}, stage {info['stage']}, written by dst_jax."
    )


def _show(written: list[Path], traces: "MaskTraces", *, shapes: bool) -> None:
    from dst_jax.cost import workloads

    print(f"{len(traces.layers)} layers, {traces.images} images")
    for path in written:
        print(f"{path}: {path.stat().st_size:,} bytes")
    for name, layer in traces.layers.items() if shapes else ():
        why = workloads.unsuitable(layer)
        if why is not None:
            print(f"left out of the problems and the workload: {name}: {why}")


if __name__ == "__main__":
    sys.exit(main())
