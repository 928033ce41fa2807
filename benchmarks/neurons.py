"""Memory in GPT-2's own weights: test loss against the number of MLP neurons.

    python benchmarks/neurons.py --data text:FOLDER --tokenizer gpt2 --device cuda --layers 12 --d-model 768 --heads 12 \\
        --out neurons.json

One genome, grown on all training text; only the number of its neurons differs between rows. With `--gens`, also a whole run
(`clso evolve`) with and without the gene for neurons. The record is written after each part.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from clso.config import RunConfig
from clso.data import load_corpus
from clso.device import resolve_device
from clso.disk.files import atomic_file
from clso.run import evolve
from clso.run.manifest import describe_code, describe_device, describe_software
from clso.search_spaces.gpt2.genes import genome_of
from clso.search_spaces.gpt2.grown import GrownWeights
from clso.search_spaces.gpt2.grown_costs import n_neurons
from clso.search_spaces.gpt2.neurons import PopulationWithNeurons
from clso.search_spaces.gpt2.space import GPT2Space
from clso.space.context import SpaceContext

GENOME = {
    "codes": 0, "context": 1, "context.gain": 0.8, "temperature": 0.9, "rarity.half_count": 256.0, "copy.rare_boost": 0.3,
    "copy.rare_value": 0.0, "bias.rarity": 0.0, "copy.salience": 0.25, "copy.match": 6.0, "copy.sink": 6.0, "copy.gain": 4.0,
    "neurons": 1.0,
}  # fmt: skip


def curve(space: GPT2Space, every: int) -> dict[str, Any]:
    """Test loss on every `every`-th block for 0 neurons, as many as there is room for, and halves of that."""
    begin = time.perf_counter()
    source = GrownWeights(space, "train", neurons=True, contexts=[int(GENOME["context"])])
    population = source.population([genome_of(GENOME)])
    assert isinstance(population, PopulationWithNeurons)
    every_one = population.neurons
    if source.neurons is None or every_one is None:
        raise SystemExit("the text has no pair worth a neuron")
    found, margin = len(source.neurons), source.neurons.detectors.margin
    grown_s = time.perf_counter() - begin
    blocks = space.blocks("test")[::every].contiguous()
    losses = {}
    for n in sorted({0, *(found >> i for i in range(8))}):
        chosen = replace(every_one, used=torch.full_like(every_one.used, n))
        part = replace(population, neurons=chosen)
        losses[n] = part.losses(blocks).item()
        print(json.dumps({"neurons": n, "test_loss": losses[n]}), flush=True)
    layout = source.crystals.layout
    return {
        "genome": GENOME,
        "room": n_neurons(1.0, space.config),
        "layout": {"code": layout.code, "identity": layout.identity, "match": layout.match},
        "smallest_margin": margin.min().item() if found else None,
        "n_test_tokens": blocks[:, 1:].numel(),
        "grown_s": grown_s,
        "test_loss": losses,
    }


def whole_run(args: argparse.Namespace, sizes: dict[str, Any], neurons: bool) -> dict[str, Any]:
    """A whole run: losses, joules and seconds by phase."""
    config = RunConfig(
        data=args.data,
        tokenizer=args.tokenizer,
        gens=args.gens,
        device=args.device,
        options={**sizes, "neurons": neurons},
    )
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        result = evolve(config, Path(folder) / "run")
        cpu_s = time.process_time() - begin
    kept = ("best", "energy_j", "energy_reason", "time_s", "counts", "tokens_forward")
    return {"cpu_s": cpu_s, **{k: result[k] for k in kept}}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="python-stdlib")
    parser.add_argument("--tokenizer", default="bpe:4096")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--d-model", type=int, default=128)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="of the test blocks, take each n-th")
    parser.add_argument("--gens", type=int, default=0, help="of the whole runs; 0 for none")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    args.device = resolve_device(args.device)
    sizes = {"n_layers": args.layers, "d_model": args.d_model, "n_heads": args.heads}
    corpus = load_corpus(args.data, args.tokenizer)
    space = GPT2Space(SpaceContext(load_corpus=lambda: corpus, device=args.device, options=sizes))
    record: dict[str, Any] = {
        "device": describe_device(args.device),
        "software": describe_software(),
        "code": describe_code(),
        "corpus": corpus.spec,
        "sizes": sizes,
    }

    def write() -> None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(args.out) as temporary:
            Path(temporary).write_text(json.dumps(record, indent=1) + "\n")

    record["curve"] = curve(space, args.every)
    write()
    if args.gens:
        record["runs"] = {}
        for neurons in (True, False):
            record["runs"]["on" if neurons else "off"] = whole_run(args, sizes, neurons)
            write()


if __name__ == "__main__":
    main()
