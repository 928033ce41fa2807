"""Counted memory mixed into any GPT-2, however it came to its weights; or memory alone.

    model = mixed_with_memory(lm, corpus, fitness_blocks)

The GPT-2 must not have been trained on the fitness text, on which EM finds the mixture's weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clso.data import Corpus
from clso.grown.classes import token_classes
from clso.grown.counted_memory import CountedMemory, as_text
from clso.grown.experts import observe
from clso.grown.mixture import fit_weights
from clso.grown.pruning import Pruning
from clso.grown.usual import USUAL_SKIP_CUT, skip_contexts, usual_recipe
from clso.models.gpt2 import GPT2, GPT2Config
from clso.models.memory import MemoryModel, target_probabilities

__all__ = ["memory_alone", "mixed_with_memory", "unasked"]

_EM_STEPS = 40


@torch.no_grad()
def mixed_with_memory(
    lm: GPT2, corpus: Corpus, fitness: Tensor, *, speaks: bool = True
) -> MemoryModel:
    """The memory set by hand (`clso.grown.usual`), with `lm` in the place of the grown GPT-2.

    Weights are fitted with the statistics text's counts; those of the whole training text then take
    their place, as in a run of `gpt2-memory`.

    Parameters
    ----------
    lm : on the device that counts.
    fitness : blocks (n, T + 1) of the fitness text, on the same device.
    speaks : False leaves `lm` out of the mixture, and the contexts with classes, which come from it.

    Raises `DataError` for a text of fewer than 3 tokens.
    """
    recipe = usual_recipe(len(corpus.tokens("statistics")) - 1, grown=speaks, classes=speaks)
    contexts = skip_contexts(recipe)
    classes: list[Tensor] = []

    def counted(split: str) -> CountedMemory:
        text = as_text(corpus.tokens(split), corpus.vocab_size).to(fitness.device)
        if speaks and not classes:  # the weights belong to the classes, so both texts share them
            count = torch.bincount(text.long(), minlength=corpus.vocab_size)
            classes.append(token_classes(lm.wte.weight, count))
        pruning, own = Pruning(skip_cut=USUAL_SKIP_CUT), classes[0] if classes else None
        return CountedMemory(text, corpus.vocab_size, recipe.order, pruning, contexts, own)

    seen = observe(counted("statistics"), recipe, fitness)
    if speaks:
        seen.fill_in(target_probabilities(lm, fitness))
    row = fit_weights(seen.base, seen.experts, seen.slots, recipe.sizes, steps=_EM_STEPS)[0]
    weights = torch.split(row, list(recipe.sizes))
    return MemoryModel(lm, counted("train"), recipe, weights).eval()


def memory_alone(corpus: Corpus, fitness: Tensor) -> MemoryModel:
    """The memory without any GPT-2."""
    lm = unasked(corpus.vocab_size, fitness.shape[1] - 1).to(fitness.device)
    return mixed_with_memory(lm, corpus, fitness, speaks=False)


def unasked(vocab_size: int, n_positions: int) -> GPT2:
    """What stands in a mixture in which no model speaks: a GPT-2 of width 2."""
    lm = GPT2(GPT2Config(vocab_size, n_positions, n_layers=1, n_heads=1, d_model=2))
    lm.init_weights(torch.Generator().manual_seed(0))
    return lm
