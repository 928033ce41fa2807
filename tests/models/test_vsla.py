"""VSLA: packed documents are what each of them is alone, what dense masks give, and GPT-2 if every pattern is full."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from clso import plugins
from clso.errors import ConfigError, ShapeError
from clso.models.gpt2 import GPT2, GPT2Config, text_loss
from clso.models.packed_text import PackedText
from clso.models.vsla import VSLA, VSLAConfig

PATTERNS = [
    "full",
    "local:5",
    "local:70",
    "sparse:8:2",
    "sparse:5:1",
    "pyramid:4",
    "pyramid:16",
    "adaptive:entropy:4.5:40:20:150",
    "adaptive:perplexity:300:40:20:150",
    "adaptive:diversity:5:40:20:150",
    "full+local:9",
    "sparse:8:1+pyramid:8",
    "adaptive:diversity:4.8:60:20:150+adaptive:entropy:4.5:33:7:90",
]
LENGTHS = (7, 1, 300, 64, 7, 129, 20)
ATOL = 1e-9
SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "n_positions": 320,
    "d_model": 16,
    "n_layers": 2,
    "n_heads": 2,
}


def model_of(pattern: str, **sizes: Any) -> VSLA:
    """In float64, with weights so large that every pattern matters."""
    model = VSLA(VSLAConfig(**{**SIZES, **sizes}, patterns=("full", pattern))).double()
    model.init_weights(torch.Generator().manual_seed(1))
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.mul_(20 if "qkv.weight" in name else 5 if p.dim() > 1 else 1)
        if model.unigram_log_p is not None:
            model.unigram_log_p.copy_(torch.linspace(-1, -9, SIZES["vocab_size"]).log_softmax(0))
    return model


def batch_of(lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    documents = [  # texts of different variety, so that signals fall on both sides of their thresholds
        torch.randint(4 + 12 * (i % 4), (n,), generator=generator) for i, n in enumerate(lengths)
    ]
    return torch.cat(documents), torch.tensor([0, *itertools.accumulate(lengths)])


def gradients(model: VSLA, logits: Tensor) -> list[Tensor]:
    weights = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)
    return list(torch.autograd.grad((logits * weights).sum(), list(model.parameters())))


def assert_close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=ATOL, rtol=ATOL)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_packed_is_each_document_alone_any_order_and_the_reference(pattern: str) -> None:
    model = model_of(pattern)
    tokens, offsets = batch_of(LENGTHS)
    packed = model.packed(tokens, offsets)
    expected = model.reference(tokens, offsets)
    assert_close(packed, expected)
    for a, b in itertools.pairwise(offsets.tolist()):
        assert_close(model(tokens[None, a:b])[0], packed[a:b])
    documents = torch.tensor_split(tokens, offsets[1:-1])
    order = [5, 0, 3, 6, 2, 1, 4]
    shuffled = torch.tensor([0, *itertools.accumulate(len(documents[i]) for i in order)])
    other = model.packed(torch.cat([documents[i] for i in order]), shuffled)
    parts = torch.tensor_split(packed, offsets[1:-1])
    assert_close(other, torch.cat([parts[i] for i in order]))
    for found, wanted in zip(gradients(model, packed), gradients(model, expected), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-7, rtol=ATOL)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_token_changes_no_earlier_logit_and_no_other_document(pattern: str) -> None:
    model = model_of(pattern)
    tokens, offsets = batch_of((40, 290, 150))
    before = model.packed(tokens, offsets)
    at = 40 + 130
    changed = tokens.clone()
    changed[at] = (tokens[at] + 1) % 61
    after = model.packed(changed, offsets)
    same = (after - before).abs().amax(1) < ATOL
    assert same[:at].all()
    assert same[330:].all()
    assert not same[at]


@pytest.mark.parametrize("tied", [False, True])
def test_it_is_gpt2_if_every_pattern_is_full(tied: bool) -> None:
    gpt2 = GPT2(GPT2Config(**SIZES, tied_head=tied)).double()
    gpt2.init_weights(torch.Generator().manual_seed(5))
    model = VSLA(VSLAConfig(**SIZES, tied_head=tied)).double()
    assert list(model.state_dict()) == list(gpt2.state_dict())
    model.init_weights(torch.Generator().manual_seed(5))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), gpt2.parameters(), strict=True)
    )
    tokens = batch_of((120,))[0].view(3, 40)
    assert_close(model(tokens), gpt2(tokens))
    losses = gpt2.token_losses(tokens)  # in float32, whatever the model's type
    torch.testing.assert_close(model.token_losses(tokens), losses, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(model.token_losses(tokens), losses, atol=1e-5, rtol=1e-5)
    weights = torch.linspace(-1, 1, 3 * 40 * 61, dtype=torch.float64).view(3, 40, 61)
    ours = torch.autograd.grad((model(tokens) * weights).sum(), list(model.parameters()))
    theirs = torch.autograd.grad((gpt2(tokens) * weights).sum(), list(gpt2.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize(
    "pattern",
    ["local:300", "sparse:16:17", "sparse:300:1", "pyramid:300", "adaptive:entropy:9:300:300:300"],
)
def test_what_sees_everything_is_full(pattern: str) -> None:
    model, full = model_of(pattern), model_of("full")
    assert_close(model.packed(*batch_of(LENGTHS)), full.packed(*batch_of(LENGTHS)))


def test_pyramid_is_full_if_keys_are_equal() -> None:
    model, full = model_of("pyramid:4"), model_of("full")
    for one in (model, full):
        d, state = SIZES["d_model"], one.state_dict()
        state["h.1.attn.qkv.weight"][d : 2 * d] = 0  # keys are their bias
        state["h.1.attn.qkv.bias"][d : 2 * d] = 0.3
    assert_close(model.packed(*batch_of(LENGTHS)), full.packed(*batch_of(LENGTHS)))


def test_packed_losses() -> None:
    model = model_of("local:5")
    tokens, offsets = batch_of((9, 4))
    targets = tokens.roll(-1)
    expected = torch.nn.functional.cross_entropy(
        model.packed(tokens, offsets), targets, reduction="none"
    )
    torch.testing.assert_close(
        model.packed_losses(tokens, offsets, targets), expected.float(), atol=1e-5, rtol=1e-5
    )
    with torch.no_grad():
        torch.testing.assert_close(
            model.packed_losses(tokens, offsets, targets), expected.float(), atol=1e-5, rtol=1e-5
        )


def test_sizes_of_the_preset_without_allocating_them() -> None:
    config = VSLAConfig(
        vocab_size=50257, n_positions=4096, d_model=2048, n_layers=24, n_heads=16, tied_head=True
    )
    with torch.device("meta"):
        model = VSLA(config)
    assert sum(p.numel() for p in model.parameters()) == 1_319_917_568


@pytest.mark.parametrize(
    ("offsets", "named"),
    [
        ([0, 6, 4, 10], "document 1"),
        ([1, 10], "start at 0"),
        ([0, 9], "10; got 9"),
        ([0, 4, 4, 10], "document 1"),
    ],
)
def test_bad_offsets(offsets: list[int], named: str) -> None:
    with pytest.raises(ShapeError, match=named):
        model_of("full").packed(torch.zeros(10, dtype=torch.long), torch.tensor(offsets))


def test_bad_documents() -> None:
    model = model_of("full", n_positions=8)
    with pytest.raises(ShapeError, match="document 0 has 9: a document has at most 8 tokens"):
        model.packed(torch.zeros(10, dtype=torch.long), torch.tensor([0, 9, 10]))
    with pytest.raises(ShapeError, match="at most 8"):
        model(torch.zeros(1, 9, dtype=torch.long))
    with pytest.raises(ShapeError, match="packed tokens are"):
        model.packed(torch.zeros(1, 9, dtype=torch.long), torch.tensor([0, 9]))


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("local:0", "local:0"),
        ("local", "local:W"),
        ("sparse:8:0", "K of a pattern"),
        ("sparse:0:1", "B of a pattern"),
        ("pyramid:x", "pyramid:x"),
        ("locl:8", "Did you mean 'local'"),
        ("adaptive:entrpy:3", "Did you mean 'entropy'"),
        ("adaptive:gradient-norm:3", "needs the future"),
        ("adaptive:entropy:high", "THRESHOLD"),
        ("adaptive:entropy:nan", "finite"),
        ("adaptive:entropy:3:100:200:300", "low <= start"),
        ("adaptive", "signal"),
        ("full+local:3+full", "joined by"),
    ],
)
def test_bad_patterns(pattern: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        VSLAConfig(n_layers=1, patterns=(pattern,))


def test_a_pattern_for_each_layer() -> None:
    with pytest.raises(ConfigError, match="one string a layer, 2; got 1"):
        VSLAConfig(patterns=("full",))
    with pytest.raises(ConfigError, match="tuple"):
        VSLAConfig(patterns="full")  # type: ignore[arg-type]
    assert VSLAConfig(patterns=("full", "full+full")).is_full
    assert not VSLAConfig(patterns=("full", "full+local:3")).is_full


@pytest.mark.parametrize(
    "name", ["vsla", "vsla-local", "vsla-sparse", "vsla-pyramid", "vsla-adaptive"]
)
def test_profiled_models(name: str) -> None:
    kind = plugins.load("models", name).subclass_of(VSLA)
    assert kind.name == name
    config = kind.Config(
        vocab_size=11, d_model=16, n_layers=2, n_heads=2, n_positions=700, n_classes=0
    )
    assert config.is_full == (name == "vsla")
    model = kind(config).init_weights(torch.Generator().manual_seed(0))
    tokens = batch_of((640,))[0].view(1, -1) % 11
    assert model(tokens).shape == (1, 640, 11)
    assert kind.Config(vocab_size=11, patterns=("local:3", "full")).patterns == ("local:3", "full")
    with pytest.raises(ConfigError, match="3 classes"):
        kind.Config(vocab_size=11, n_classes=3)


def test_documents_are_refused_by_a_model_without_them() -> None:
    text = PackedText(
        torch.zeros(3, dtype=torch.long), torch.zeros(3, dtype=torch.long), torch.tensor([0, 3])
    )
    with pytest.raises(ConfigError, match="packed for a model with packed"):
        text_loss(GPT2(GPT2Config(**SIZES)), text)
