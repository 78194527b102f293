"""A run directory on disk: train writes it, report reads it.

    RUN_DIR/
      config.json             config (nested), seed, command, versions, git, machine;
                              what is planned: stages, their directories in
                              checkpoints/, titles, task, model; the data set
      metrics.jsonl           one JSON object per line: {"kind": ..., "stage": ..., ...}
      masks.jsonl             likewise, where a method of sparse training chose masks
      ledger.jsonl            multiplications of training, if asked for
      stages/NAME.json        what the evaluation at the end of one stage found
      accelerators/NAME.json  what modelled accelerators make of it, if asked for
      storage/NAME.json       bits of its tensors in each format, if asked for
      post_training.json      searches and choice of experiments.post_training
      thresholds/NAME.json    the FATReLUs found for it, if asked for
      allocation/NAME.json    options chosen for its layers, if asked for
      examples/NAME.json      images, labels and what the network says, for segmentation
      summary.json            config, stages in order, params_sha256
      checkpoints/STAGE/      Orbax
      lock.json               while a process writes: which, on which host, since when
      report.html, figures/

Lines of metrics.jsonl carry `kind`: "train" (a log interval: step, epoch, loss,
penalty terms, images_per_second, waiting) or "eval" (an epoch's end on the
hold-out: step, epoch, the task's metrics, activation_sparsity, weight_sparsity).
`step` counts from the stage's start, `epoch` is a float. Lines of masks.jsonl carry
`stage`, `phase`, `step`, `epoch` and `layers`: by layer, what `pruning.statistics` and
`pruning.channel_statistics` say.

Lines of ledger.jsonl carry `kind`. "step" is one step, counted exactly: `examples` of
its batch, `weights` kept by leaf, and `layers`, by operation and part what
`cost.TrainingCounts` holds. "interval" is the `steps` up to `step`: `weights` kept by
leaf, added up over them, and `dense_gradients`, the number of steps that need the
gradients of pruned weights too. Where nothing is pruned, `weights` is empty.

storage/NAME.json holds `value_bits`, the number of test images (`examples`) behind the
maps, and `tensors`: `kind` ("weight" or "map"), `name`, `elements`, `nonzeros`, `bits`
in each format of `cost.table` and the name of the `smallest`.

config.json and stages/NAME.json hold the task's `name`, the `titles` of its metrics,
the `best` one as [metric, "max" or "min"] and the `shares` among them, which are shown
in percent (`task`). config.json holds the original network (`model`): its `name` as
`module:attribute`, its `options` and the `shapes` of its variables by path; `opaque`
lists options whose values JSON does not have. `data` is `data.fingerprint`: classes,
mean and deviation among it, with which a run is opened again. A stage
may hand on a smaller one: stages/NAME.json holds the `shapes` at its end and the
`plans` of removal, in order and in coordinates of the original (`network`), from which
the smaller network is made again. There are none until something is removed. A run that
starts without training has a first stage of no epochs, titled "given weights" or
"untrained start".

examples/NAME.json holds `num_classes`, the label to `ignore` (or null) and `examples`:
`image`, `label` and `predicted` of each are PNG files in base64; the latter two hold
the class of each pixel as a grey value.

The files are JSON that any reader accepts: numbers that are not finite are the strings
"NaN", "Infinity" and "-Infinity".
"""

from dst_jax.runs.directory import FIRST_TASK, GIVEN, UNTRAINED, Run
from dst_jax.runs.json_files import (
    Unreadable,
    append_line,
    naming,
    read_lines,
    sync,
    to_json,
    write_bytes,
    write_text,
)
from dst_jax.runs.lock import InUse, check_path, hold
from dst_jax.runs.measured_files import (
    log_ledger,
    read_allocation,
    read_ledger,
    read_post_training,
    read_storage,
    write_allocation,
    write_post_training,
    write_storage,
)
from dst_jax.runs.yaml_files import read_yaml, to_yaml

__all__ = [
    "FIRST_TASK",
    "GIVEN",
    "UNTRAINED",
    "InUse",
    "Run",
    "Unreadable",
    "append_line",
    "check_path",
    "hold",
    "log_ledger",
    "naming",
    "read_allocation",
    "read_ledger",
    "read_lines",
    "read_post_training",
    "read_storage",
    "read_yaml",
    "sync",
    "to_json",
    "to_yaml",
    "write_allocation",
    "write_bytes",
    "write_post_training",
    "write_storage",
    "write_text",
]
