"""A language model of one's own text, without gradients; then some text that it writes.

    python examples/own_text.py [FILE] [RUN_FOLDER]

Without a file the text is a piece of Python's reference, as `help()` shows it. Sizes are small, so that it takes seconds.
"""

from __future__ import annotations

import pydoc_data.topics
import sys
import tempfile
from pathlib import Path

from clso import RunConfig, evolve
from clso.models.sampling import Sampling
from clso.run.finished import Winner

if __name__ == "__main__":
    scratch = Path(tempfile.mkdtemp(prefix="clso-example-"))
    text = Path(sys.argv[1]) if len(sys.argv) > 1 else scratch / "text.txt"
    if len(sys.argv) < 2:
        text.write_text("\n\n".join(pydoc_data.topics.topics.values())[:100_000], encoding="utf-8")
    run = Path(sys.argv[2]) if len(sys.argv) > 2 else scratch / "run"
    config = RunConfig(
        gens=3,
        pop=8,
        data=f"text:{text}",
        tokenizer="bytes",
        fitness_tokens=(512,),
        valid_tokens=1024,
        finalists=2,
        options={"d_model": 32, "n_positions": 64},
        device="cpu",
    )
    result = evolve(config, run)
    print(f"test loss {result['best']['test_loss']:.3f} nats per byte; the run is {run}")
    print("The ", end="")
    for piece in Winner.open(run).generate("The ", 80, Sampling(0.8), seed=0):
        print(piece, end="")
    print()
