"""Text token by token: what may be drawn, how often, and from which past."""

from __future__ import annotations

import pytest
import torch

from clso.errors import ConfigError
from clso.models.gpt2 import GPT2, GPT2Config, LanguageModel
from clso.models.nsm import NSMConfig, SimpleNSM
from clso.models.pointer import SCALARS, PointerGPT2
from clso.models.sampling import Sampling, sample
from clso.models.vsla import VSLA, VSLAConfig

VOCAB, POSITIONS = 40, 12


def _gpt2() -> GPT2:
    return GPT2(GPT2Config(VOCAB, POSITIONS, d_model=16, n_layers=1, n_heads=2)).eval()


def _of(kind: str) -> LanguageModel:
    """A model with large random weights."""
    model: LanguageModel
    generator = torch.Generator().manual_seed(2)
    if kind == "nsm":
        model = SimpleNSM(
            NSMConfig(VOCAB, d_model=16, n_layers=1, n_heads=2, n_positions=POSITIONS)
        )
    elif kind == "vsla":
        model = VSLA(VSLAConfig(VOCAB, POSITIONS, 16, 1, 2, patterns=("full",)))
    else:
        model = _gpt2()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.5 * torch.randn(p.shape, generator=generator))
    if kind == "pointer" and isinstance(model, GPT2):
        rarity = -torch.rand(VOCAB, generator=generator)
        model = PointerGPT2(model, rarity, torch.eye(16), dict.fromkeys(SCALARS, 0.3))
    return model.eval()


@pytest.mark.parametrize("kind", ["gpt2", "pointer", "nsm", "vsla"])
def test_a_context_slides_and_only_its_last_position_is_asked(kind: str) -> None:
    model = _of(kind)
    tokens = [3, 1, 4]
    found = list(sample(model, tokens, 20, Sampling(temperature=0)))
    assert len(found) == 20
    for token in found:
        with torch.no_grad():
            whole = model(torch.tensor([tokens[-POSITIONS:]]))[0, -1].double()
            own = model.next_log_p(torch.tensor(tokens[-POSITIONS:]))
        assert own.exp().sum().item() == pytest.approx(1, abs=1e-6)
        torch.testing.assert_close(own, whole.log_softmax(0), atol=1e-5, rtol=1e-4)
        assert own[token] == own.max()
        tokens.append(token)


def test_equal_seeds_give_equal_tokens() -> None:
    model = _of("gpt2")
    drawn = [list(sample(model, [1], 30, Sampling(1.0), seed=seed)) for seed in (5, 5, 6)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0][:7] == list(sample(model, [1], 7, Sampling(1.0), seed=5))


P = torch.tensor([0.1, 0.4, 0.2, 0.3], dtype=torch.float64)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(1.0), [0.1, 0.4, 0.2, 0.3]),
        (Sampling(0.5), [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
        (Sampling(1.0, top_k=2), [0, 4 / 7, 0, 3 / 7]),
        (Sampling(1.0, top_k=99), [0.1, 0.4, 0.2, 0.3]),
        (Sampling(1.0, top_p=0.65), [0, 4 / 7, 0, 3 / 7]),
        (Sampling(1.0, top_p=0.75), [0, 4 / 9, 2 / 9, 3 / 9]),
        (Sampling(1.0, top_k=3, top_p=0.4), [0, 1, 0, 0]),
        (Sampling(1.0, top_p=1e-300), [0, 1, 0, 0]),
        (Sampling(0.0), [0, 1, 0, 0]),
        (Sampling(1e-308), [0, 1, 0, 0]),
    ],
    ids=str,
)
def test_what_is_drawn_how_often(sampling: Sampling, expected: list[float]) -> None:
    generator, n = torch.Generator().manual_seed(0), 3000
    drawn = torch.tensor([sampling.draw(P.log(), generator) for _ in range(n)])
    shares = drawn.bincount(minlength=4) / n
    for share, p in zip(shares.tolist(), expected, strict=True):
        # five standard deviations; what is left out is never drawn
        assert abs(share - p) <= 5 * (p * (1 - p) / n) ** 0.5


def test_impossible_tokens_are_never_drawn() -> None:
    log_p = torch.tensor([-torch.inf, 0.0, -torch.inf], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    assert {Sampling(2.0).draw(log_p, generator) for _ in range(50)} == {1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
    ],
    ids=str,
)
def test_settings_out_of_range(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Sampling(**settings)  # type: ignore[arg-type]


def test_a_prompt_without_a_token() -> None:
    with pytest.raises(ConfigError, match="one token"):
        sample(_of("gpt2"), [], 3, Sampling())
