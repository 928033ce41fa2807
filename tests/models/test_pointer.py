"""The pointer mixture: a probability, causal, and the same alone as in a population."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.models.gpt2 import GPT2, GPT2Config, text_loss
from clso.models.pointer import SCALARS, PointerGPT2
from clso.models.pointer_population import PopulationPointer, log_normalisers
from clso.models.population import PopulationGPT2
from clso.models.tables import BankedTables

CONFIG = GPT2Config(vocab_size=23, n_positions=12, d_model=16, n_layers=2, n_heads=2)
NUMBERS = {
    "salience": 0.4,
    "match": 3.0,
    "match_rarity": 0.1,
    "match_two": 1.0,
    "plausible": 0.3,
    "own": -1.0,
    "fuzzy": 2.0,
    "sink": 0.5,
    "sink_position": 0.2,
}


def make_gpt2(seed: int) -> GPT2:
    generator = torch.Generator().manual_seed(seed)
    model = GPT2(CONFIG)
    for p in model.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=generator) + (1.0 if p.dim() == 1 else 0.0)
    return model.eval()


def make_pointer(seed: int = 0, numbers: Mapping[str, float] = NUMBERS) -> PointerGPT2:
    generator = torch.Generator().manual_seed(100 + seed)
    rarity = -4 * torch.rand(CONFIG.vocab_size, generator=generator)
    projection = torch.randn(CONFIG.d_model, 6, generator=generator)
    return PointerGPT2(make_gpt2(seed), rarity, projection, numbers)


def make_blocks(n: int = 5, seed: int = 0, n_tokens: int = 6) -> Tensor:
    """Blocks over few tokens, so that there is much to copy."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(n_tokens, (n, CONFIG.n_positions + 1), generator=generator)


def by_the_formula(model: PointerGPT2, tokens: list[int], t: int) -> list[float]:
    """p(y | t) of every y, written out from the definition with plain loops."""
    s, r = model.scalars, model.rarity.tolist()
    hidden = model.lm.hidden(torch.tensor([tokens]))[0].detach()
    log_p = torch.log_softmax(model.lm.head(hidden), 1)[t].tolist()
    codes = hidden @ model.projection
    scores = []
    for i in range(t + 1):
        score = (
            s["salience"] * r[tokens[i]] + s["plausible"] * log_p[tokens[i]] + s["own"] * (i == t)
        )
        if i and tokens[i - 1] == tokens[t]:
            score += s["match"] * math.exp(s["match_rarity"] * r[tokens[t]])
            score += s["match_two"] * (i >= 2 and tokens[i - 2] == tokens[t - 1])
        elif i:
            score += s["fuzzy"] * torch.cosine_similarity(codes[t], codes[i - 1], dim=0).item()
        scores.append(math.exp(score))
    sink = math.exp(s["sink"] + s["sink_position"] * math.log1p(t))
    total = sink + sum(scores)
    out = [sink / total * math.exp(x) for x in log_p]
    for i, score in enumerate(scores):
        out[tokens[i]] += score / total
    return out


def test_every_probability_is_the_formula_s() -> None:
    model, blocks = make_pointer(), make_blocks(2)
    log_p = model(blocks[:, :-1])
    for block, got in zip(blocks.tolist(), log_p, strict=True):
        for t in range(CONFIG.n_positions):
            assert got[t].exp().tolist() == pytest.approx(
                by_the_formula(model, block[:-1], t), rel=1e-4
            )


def test_probabilities_sum_to_one_and_are_the_losses() -> None:
    model, blocks = make_pointer(), make_blocks()
    log_p = model(blocks[:, :-1])
    assert torch.allclose(log_p.exp().sum(2), torch.ones(log_p.shape[:2]), atol=1e-5)
    at_target = log_p.gather(2, blocks[:, 1:, None])[..., 0]
    losses = model.token_losses(blocks)
    assert torch.allclose(losses, -at_target, atol=1e-5)
    assert losses.dtype == torch.float32
    assert text_loss(model, blocks) == pytest.approx(losses.mean().item(), abs=1e-6)


def test_losses_sum_to_one_over_the_last_target() -> None:
    every = torch.arange(CONFIG.vocab_size)
    blocks = make_blocks(1).repeat(len(every), 1)
    blocks[:, -1] = every
    assert make_pointer().token_losses(blocks)[:, -1].neg().exp().sum().item() == pytest.approx(
        1, abs=1e-5
    )


def test_a_loss_depends_on_no_later_token() -> None:
    model, blocks = make_pointer(), make_blocks(3)
    before = model.token_losses(blocks)
    for t in range(CONFIG.n_positions):
        changed = blocks.clone()
        changed[:, t + 2 :] = make_blocks(3, seed=9, n_tokens=CONFIG.vocab_size)[:, t + 2 :]
        assert torch.equal(model.token_losses(changed)[:, : t + 1], before[:, : t + 1])


def test_the_sink_alone_is_the_language_model() -> None:
    model, blocks = make_pointer(numbers={**NUMBERS, "sink": 80.0}), make_blocks()
    assert torch.allclose(model.token_losses(blocks), model.lm.token_losses(blocks), atol=1e-5)


@pytest.mark.parametrize("name", SCALARS)
def test_each_number_matters(name: str) -> None:
    blocks = make_blocks()
    changed = {**NUMBERS, name: NUMBERS[name] + 0.5}
    assert text_loss(make_pointer(numbers=changed), blocks) != pytest.approx(
        text_loss(make_pointer(), blocks), abs=1e-6
    )


def stack(models: list[PointerGPT2]) -> PopulationPointer:
    states = [m.lm.state_dict() for m in models]
    tables = ("wte.weight", "head.weight")
    params = {n: torch.stack([s[n] for s in states]) for n in states[0] if n not in tables}
    wte, head = (torch.stack([s[n] for s in states]) for n in tables)
    index = torch.arange(len(models))
    lm = PopulationGPT2(CONFIG, BankedTables(wte, index), BankedTables(head, index), params)
    scalars = {n: torch.tensor([m.scalars[n] for m in models]) for n in SCALARS}
    padded = torch.stack([torch.nn.functional.pad(m.projection, (0, 2)) for m in models])
    return PopulationPointer(lm, torch.stack([m.rarity for m in models]), padded, scalars)


def test_a_population_is_its_members() -> None:
    models = [make_pointer(i, {**NUMBERS, "match": 2.0 + i, "sink": 0.3 * i}) for i in range(3)]
    blocks = make_blocks(20)
    population = stack(models)
    together = population.token_losses(blocks)
    for i, model in enumerate(models):
        assert torch.allclose(together[i], model.token_losses(blocks), atol=1e-5)
        again = population.single(i)
        assert again.projection.shape == model.projection.shape  # the padding is gone
        assert text_loss(again, blocks) == pytest.approx(text_loss(model, blocks), abs=1e-6)
    assert population.losses(blocks).tolist() == pytest.approx(
        [text_loss(m, blocks) for m in models], abs=1e-5
    )


def test_log_normalisers_of_shared_and_own_tables() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, tables = (
        torch.randn(3, 7, 4, generator=generator),
        torch.randn(2, 11, 4, generator=generator),
    )
    got = log_normalisers(rows, tables, torch.tensor([1, 0, 1]))
    want = torch.logsumexp(rows @ tables[[1, 0, 1]].transpose(1, 2), 2)
    assert torch.allclose(got, want, atol=1e-5)


def test_parts_that_do_not_fit_are_refused() -> None:
    lm, good = make_gpt2(0), make_pointer()
    with pytest.raises(ConfigError, match="numbers"):
        PointerGPT2(lm, good.rarity, good.projection, {"sink": 1.0})
    with pytest.raises(ConfigError, match="rarity"):
        PointerGPT2(lm, good.rarity[:-1], good.projection, NUMBERS)
    with pytest.raises(ConfigError, match="projection"):
        PointerGPT2(lm, good.rarity, good.projection[:-1], NUMBERS)
