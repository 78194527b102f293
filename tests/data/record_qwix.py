"""Records qwix's N:M masks of random arrays in `qwix_n_of_m.json`, next to this file.

    pip install qwix && python tests/data/record_qwix.py

Recorded with qwix 0.1.8. Half of the arrays are rounded, so that they have ties.
"""

import importlib
import json
from pathlib import Path

import numpy as np

PATTERNS = ((1, 4), (2, 4), (4, 8), (8, 16), (16, 32))


def main() -> None:
    """Writes the file."""
    sparsity = importlib.import_module("qwix._src.core.sparsity")
    rng = np.random.default_rng(0)
    cases = []
    for n, m in PATTERNS:
        for digits in (3, 0):
            x = rng.normal(scale=2, size=(2, 64)).round(digits).astype("float32")
            mask = np.asarray(sparsity.get_sparsity_mask(x, n, m))
            cases.append(
                {
                    "n": n,
                    "m": m,
                    "shape": x.shape,
                    "x": [round(float(v), digits) for v in x.ravel()],
                    "kept": np.packbits(mask).tolist(),
                }
            )
    lines = ",\n".join(map(json.dumps, cases))
    path = Path(__file__).with_name("qwix_n_of_m.json")
    path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
