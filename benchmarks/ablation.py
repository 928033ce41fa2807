"""What each grown family is worth: every family off in turn, rank, unseen weight, method and corpus
size.

    python benchmarks/ablation.py --data text:FOLDER --large text:LARGER_FOLDER --device cuda --out ablation.json

Losses are on all of `test` in blocks of 128; crystals are grown from all of the training text, or
its first tokens. Costs are of building codes once, from a window of repeated builds."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clso.data import load_corpus
from clso.device import resolve_device
from clso.energy import EnergyMeter, open_meter
from clso.grown.als import AlsConfig, factorise
from clso.grown.codes import CodeFamily, grow_codes
from clso.grown.statistics import count_pairs, kneser_ney
from clso.models.head_loss import row_losses
from clso.run.manifest import describe_code, describe_device, describe_software
from clso.search_spaces.gpt2.genes import genome_of
from clso.search_spaces.gpt2.grown import GrownWeights
from clso.search_spaces.gpt2.space import GPT2Space
from clso.space.context import SpaceContext

# The winner of seed 3 in runs/2026-11-22_proof-h100, by its alleles.
GENOME = {
    "codes": 0, "context": 2, "context.gain": 1.0, "temperature": 0.85, "rarity.half_count": 32.0, "copy.rare_boost": 0.3,
    "copy.rare_value": 0.05, "bias.rarity": 0.0, "copy.salience": 0.25, "copy.match": 5.0, "copy.sink": 5.0, "copy.gain": 6.0,
}  # fmt: skip


class Prefix:
    """A corpus whose training text is cut after `n` tokens."""

    def __init__(self, corpus: Any, n: int) -> None:
        self._corpus, self._n, self.vocab_size = corpus, n, corpus.vocab_size
        self.content_hash = hashlib.sha256(f"{corpus.content_hash} {n}".encode()).hexdigest()

    def tokens(self, split: str) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = self._corpus.tokens(split)
        return found[: self._n] if split == "train" else found


def grown_space(corpus: Any, device: str) -> GPT2Space:
    space = GPT2Space(SpaceContext(load_corpus=lambda: corpus, device=device))
    space.source = GrownWeights(space, "train")
    return space


def genome(**changes: float) -> tuple[int, ...]:
    return genome_of({**GENOME, **{name.replace("_", "."): v for name, v in changes.items()}})


def code_loss(corpus: Any, device: str, rank: int, unseen_weight: float) -> float:
    """Loss of A[x_t] B^T + log p_cont alone, without a GPT-2 around it."""
    tokens = torch.from_numpy(np.asarray(corpus.tokens("train")).astype(np.int64)).to(device)
    statistics = kneser_ney(count_pairs(tokens, corpus.vocab_size), discount=0.6)
    a, b = factorise(statistics, AlsConfig(rank=rank, iterations=8, unseen_weight=unseen_weight))
    # with the bias, a width that the fused kernel takes
    pad = (0, 255 - rank) if rank > 127 else (0, 127 - rank)
    bias = statistics.p_cont.log()[:, None]
    a = torch.nn.functional.pad(torch.cat([torch.ones_like(bias), a], 1), pad)
    b = torch.nn.functional.pad(torch.cat([bias, b], 1), pad)
    test = torch.from_numpy(np.asarray(corpus.tokens("test")).astype(np.int64)).to(device)
    n = (len(test) - 1) // 128 * 128
    return float(row_losses(a[test[:n]], b, test[1 : n + 1]).double().mean())


def cost(meter: EnergyMeter, build: Any, seconds: float) -> dict[str, float | None]:
    """Seconds and joules of one build."""
    build()
    n = 0
    with meter.window("build") as window:
        begin = time.perf_counter()
        while n == 0 or time.perf_counter() - begin < seconds:
            build()
            n += 1
    return {
        "time_s": window.time_s / n,
        "energy_j": None if window.energy_j is None else window.energy_j / n,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--large", help="a larger text for the corpus sizes (default: --data)")
    parser.add_argument("--tokenizer", default="gpt2")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--window-s", type=float, default=2.0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    device = resolve_device(args.device)
    corpus = load_corpus(args.data, args.tokenizer)
    large = load_corpus(args.large or args.data, args.tokenizer)
    space = grown_space(corpus, device)
    test = space.blocks("test")
    full = {
        "all": genome(),
        "context off": genome(context_gain=0.0),
        "copy off": genome(copy_gain=0.0),
    }
    full["context and copy off"] = genome(context_gain=0.0, copy_gain=0.0)
    losses = space.losses(list(full.values()), test).tolist()
    found: dict[str, Any] = {
        "hardware": describe_device(device),
        "code": describe_code(),
        "software": describe_software(),
        "families": dict(zip(full, losses, strict=True)),
    }
    svd = grown_space(corpus, device)
    crystals = svd.source.crystals  # type: ignore[attr-defined]
    crystals.families = tuple(replace(family, method="svd") for family in crystals.families)
    found["families"]["svd codes, context and copy off"] = svd.losses(
        [full["context and copy off"]], test
    ).item()
    found["rank"] = {k: code_loss(corpus, device, k, 0.01) for k in (16, 32, 47, 64, 96, 126, 255)}
    found["unseen_weight"] = {
        w: code_loss(corpus, device, 47, w) for w in (0.001, 0.003, 0.01, 0.03, 0.1)
    }
    sizes = [
        n
        for n in (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)
        if n < len(large.tokens("train"))
    ]
    found["corpus_size"] = {}
    for n in (*sizes, len(large.tokens("train"))):
        part = grown_space(Prefix(large, n), device)
        found["corpus_size"][n] = part.losses([genome()], part.blocks("test")).item()
    with open_meter("auto", device) as meter:
        found["energy"] = {"source": meter.source, "reason": meter.reason}
        tokens = torch.from_numpy(np.asarray(corpus.tokens("train")).astype(np.int64))

        def counting() -> Any:
            return count_pairs(tokens.to(device), corpus.vocab_size)

        pairs = counting()
        found["cost"] = {
            "counting": cost(meter, counting, args.window_s),
            "codes": cost(
                meter, lambda: grow_codes(pairs, CodeFamily(47, discount=0.6)), args.window_s
            ),
            "whole library of one genome": cost(
                meter,
                lambda: grown_space(corpus, device).source.population([genome()]),
                args.window_s,
            ),
        }
    text = json.dumps(found, indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
