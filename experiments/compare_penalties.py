"""Penalties on activation maps side by side, at matched accuracy and over seeds.

For every seed a baseline is trained, and from it the dense control and a cell for each
setting of the grid. The strength of each penalty is chosen on the hold-out; the test
set is read once, for the chosen cells. The same command continues a comparison that
was stopped, and more seeds or settings can be added to a finished one.

COMMAND
  python -m experiments.compare_penalties

RESULT
  DIR/cells.jsonl   the hold-out on every cell, a line each
  DIR/test.jsonl    the test set on the chosen ones
  DIR/report.md, DIR/figures/
"""

import sys

from experiments.comparison.launch import main
from experiments.comparison.options import Cells, Compare
from experiments.config import Data, Model, Optim, Pretrain

_FULL = Compare(
    grid=(
        "l1 strength=2e-5,5e-5,1e-4",
        "hoyer_square strength=2e-5,5e-5,1e-4",
        "transformed_l1 strength=2e-5,5e-5,1e-4 a=0.1,1",
    ),
    data=Data(name="mnist", batch_size=128, eval_batch_size=500, augment=("affine",)),
    model=Model(name="lenet5"),
    optim=Optim(weight_decay=5e-4),
    pretrain=Pretrain(epochs=40, lr=0.05),
    cells=Cells(epochs=12, lr=0.02),
)
PRESETS = {"full": _FULL}

if __name__ == "__main__":
    sys.exit(main(PRESETS, doc=__doc__ or ""))
