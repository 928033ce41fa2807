"""A memory that reads on, and forgets what has slid out of the context."""

from __future__ import annotations

import torch

from clso.grown.distribution import MemoryReader
from clso.models.sampling import Sampling, sample

from .example import CONFIG, VOCAB, make_model, some_text


def test_a_reader_that_forgets_is_one_that_never_read() -> None:
    model = make_model()
    slid = MemoryReader(model.memory, model.recipe, model.weights)
    text = some_text(60, 7).tolist()
    grown = torch.full((VOCAB,), 1 / VOCAB, dtype=torch.float64)
    for t, token in enumerate(text):
        slid.push(token)
        if len(slid.tokens) > 12:
            slid.forget_oldest()
        fresh = MemoryReader(model.memory, model.recipe, model.weights)
        for past in text[max(0, t - 11) : t + 1]:
            fresh.push(past)
        assert torch.equal(slid.distribution(grown), fresh.distribution(grown)), t


def test_the_likeliest_tokens_of_the_mixture_beyond_its_context() -> None:
    model = make_model()
    prompt = some_text(20, 8).tolist()
    found = list(sample(model, prompt, 15, Sampling(temperature=0)))
    tokens = list(prompt)
    for token in found:
        window = torch.tensor([tokens[-CONFIG.n_positions :]])
        with torch.no_grad():
            assert token == int(model(window)[0, -1].argmax())
        tokens.append(token)
    assert len(tokens) > CONFIG.n_positions + 5
