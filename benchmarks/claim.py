"""The note's claim on three real sets: `dqindex validate`'s report, shortened.

python benchmarks/claim.py --data glove-50 --data digits --data FILE
"""

from __future__ import annotations

import argparse
import time
import warnings

import common
import numpy as np

from dqindex.claim import validate
from dqindex.errors import DQWarning


def figures(name: str, x: np.ndarray, rows: int) -> dict[str, object]:
    """What the table in docs/claim.md needs of one report."""
    if len(x) > rows:
        x = x[np.sort(np.random.default_rng(0).choice(len(x), rows, replace=False))]
    began = time.perf_counter()
    report = validate(x)
    seconds = time.perf_counter() - began
    identity, gradients, beta, training, controls = report.sections

    def worst(section, word: str) -> float:
        return max(float(check.figure) for check in section.checks if word in check.name)

    runs = [dict(zip(training.columns, row, strict=True)) for row in training.rows]
    pq = min(runs[:2], key=lambda run: float(run["held out"]))
    vae = min(runs[2:], key=lambda run: float(run["held out"]))
    from_pq = [run for run in runs if "start PQ" in run["method"]]
    return {
        "data": name,
        "n": len(x),
        "d": x.shape[1],
        "passed": report.passed,
        "identity_float64": worst(identity, "float64"),
        "identity_float32": worst(identity, "float32"),
        "gradients": worst(gradients, "largest difference"),
        "beta_sgd": worst(beta, "SGD, rate"),
        "beta_adam": worst(beta, "Adam, the same"),
        "dropped": worst(controls, "dropped energy"),
        "control_dropped": worst(controls, "kept: |L_R - L_C| / L_R"),
        "control_whitened": worst(controls, "whitened"),
        "control_skewed": worst(controls, "not orthonormal"),
        "pq": pq,
        "dqvae": vae,
        "same_codes_from_pq": [run["same codes"] for run in from_pq],
        "statement": training.statement,
        "runs": runs,
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Run, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--rows", type=int, default=100_000, help="sample of a larger set")
    arguments = parser.parse_args()
    # Digits have pixels that never vary.
    warnings.simplefilter("ignore", DQWarning)
    rows = []
    for data in arguments.data:
        name, x = common.load(data)
        rows.append(figures(name, x, arguments.rows))
        print(
            name, rows[-1]["passed"], rows[-1]["statement"], f"{rows[-1]['seconds']} s", flush=True
        )
    common.write("claim", rows, sample=arguments.rows)


if __name__ == "__main__":
    main()
