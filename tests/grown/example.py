"""A small text with structure, and a memory model of it."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from clso.grown.counted_memory import CountedMemory, as_text
from clso.grown.experts import observe
from clso.grown.mixture import fit_weights
from clso.grown.own_past import Voters
from clso.grown.recipes import Recipe
from clso.grown.skips import SkipContext
from clso.models.gpt2 import GPT2, GPT2Config
from clso.models.memory import MemoryModel

VOCAB = 23
CONFIG = GPT2Config(vocab_size=VOCAB, n_positions=24, d_model=16, n_layers=1, n_heads=2)
CONTEXTS = (
    SkipContext((2, 0)),
    SkipContext((1,)),
    SkipContext((1, 0), (1, 0)),
    SkipContext((2, 1, 0), (2,)),
)
CLASSES = (torch.arange(VOCAB) % 5).to(torch.uint8)
RECIPE = Recipe(
    order=4,
    n_skips=2,
    n_classed=2,
    shares=(Voters("share"), Voters("share", 0.9), Voters("share", 1.0, 0.5)),
    matches=(Voters("match"), Voters("match", 0.9, 0.0, 1), Voters("match", 0.9, 0.0, 2)),
)


def some_text(n: int, seed: int) -> Tensor:
    """Words of two to four tokens, some of them often."""
    rng = random.Random(seed)
    words = [[random.Random(w).randrange(VOCAB - 1) for _ in range(2 + w % 3)] for w in range(40)]
    out: list[int] = []
    while len(out) < n:
        out += words[min(39, int(rng.expovariate(0.12)))]
    return torch.tensor(out[:n])


def make_model(recipe: Recipe = RECIPE) -> MemoryModel:
    text = some_text(3000, 0)
    lm = GPT2(CONFIG).init_weights(torch.Generator().manual_seed(0)).eval()
    memory = CountedMemory(
        as_text(text, VOCAB), VOCAB, recipe.order, contexts=CONTEXTS, classes=CLASSES
    )
    blocks = some_text(20 * 25, 2).view(20, 25)
    seen = observe(memory, recipe, blocks)
    with torch.no_grad():
        seen.fill_in(lm.token_losses(blocks).neg().exp().flatten())
    row = fit_weights(seen.base, seen.experts, seen.slots, recipe.sizes)[0]
    weights = list(torch.split(row, list(recipe.sizes)))
    return MemoryModel(lm, memory, recipe, weights).eval()
