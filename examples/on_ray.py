"""Candidates measured by two worker processes on a private Ray of this machine; the answer is the one without them.

python examples/on_ray.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported: workers share the cores

from clso import RunConfig, evolve
from clso.evaluation.workers import Workers

if __name__ == "__main__":
    config = RunConfig(space="maxsat", options={"n": 50}, gens=5, pop=16, surrogate="none")
    folder = Path(tempfile.mkdtemp(prefix="clso-example-"))
    alone = evolve(config, folder / "alone")
    shared = evolve(config, folder / "shared", workers=Workers(n=2))
    print(f"alone:       {alone['best']['values']} of genome {alone['best']['genome'][:8]}...")
    print(f"two workers: {shared['best']['values']} of genome {shared['best']['genome'][:8]}...")
    assert alone["best"]["genome"] == shared["best"]["genome"]
