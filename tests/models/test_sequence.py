"""Every family of sequence models in the `models` plugin group, by one set of rules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from clso import plugins
from clso.errors import ConfigError
from clso.models.gpt2 import text_loss
from clso.models.sequence import SequenceConfig, SequenceModel

VOCAB, T = 11, 80
FAMILIES = [
    n
    for n in plugins.available("models")
    if issubclass(plugins.load("models", n).value, SequenceModel)
]
VARIANTS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in FAMILIES] + [
    ("simple-nsm", {"gate": "lstm", "top_k": 2, "n_states": 5, "chunk": 7}),
    ("performer", {"chunk": 10, "n_features": 20}),
    ("linformer", {"chunk": 10, "n_slots": 6}),
    ("advanced-hybrid", {"chunk": 5, "n_slots": 3, "d_state": 4}),
]
families = pytest.mark.parametrize(
    ("family", "fields"),
    VARIANTS,
    ids=[" ".join((name, *map(str, fields.values()))) for name, fields in VARIANTS],
)
pytestmark = pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")


def make(family: str, fields: dict[str, Any], seed: int = 0, **more: Any) -> SequenceModel:
    model: type[SequenceModel] = plugins.load("models", family).subclass_of(SequenceModel)
    sizes = (
        {"vocab_size": VOCAB, "d_model": 16, "n_layers": 1, "n_heads": 2, "n_positions": 160}
        | fields
        | more
    )
    return model(model.Config(**sizes)).init_weights(torch.Generator().manual_seed(seed))


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def test_the_families() -> None:
    peers = {"lstm", "transformer", "linformer", "performer", "rwkv", "mamba"}
    assert {"simple-nsm", "advanced-hybrid", "sequential-hybrid", *peers} <= set(FAMILIES)


@families
def test_no_output_depends_on_a_later_token(family: str, fields: dict[str, Any]) -> None:
    model = make(family, fields, n_layers=2)
    seen = tokens(2, T)
    hidden = model.hidden(seen)
    for t in (1, 7, 15, 16, 64, T - 1):  # within and at the edges of chunks
        other = torch.cat(
            (seen[:, :t], (seen[:, t:] + 1 + tokens(2, T - t, seed=t) % (VOCAB - 1)) % VOCAB), dim=1
        )
        assert (other[:, t:] != seen[:, t:]).all()
        changed = model.hidden(other)
        torch.testing.assert_close(changed[:, :t], hidden[:, :t], rtol=0, atol=1e-5)
        assert not torch.allclose(changed[:, t:], hidden[:, t:], rtol=0, atol=1e-2)


@families
def test_the_gradient_flows_backwards_in_time_only(family: str, fields: dict[str, Any]) -> None:
    model = make(family, fields)
    x = model.embed(tokens(1, T)).detach().requires_grad_()
    for t in (3, 15, 16, 70):
        (grad,) = torch.autograd.grad(model.body(x)[0, t].square().sum(), x)
        reach = grad[0].abs().amax(dim=1)
        assert not reach[t + 1 :].any()
        assert (reach[: t + 1] > 0).all()


@families
def test_training_lowers_the_loss_and_every_gradient_is_finite(
    family: str, fields: dict[str, Any]
) -> None:
    model = make(family, fields)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    blocks = tokens(8, 4).repeat(1, 5)  # four random tokens, then copies of what stood four before
    for _ in range(20):
        loss = model.token_losses(blocks)[:, 4:].mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for name, p in model.named_parameters():
            assert p.grad is not None, name
            assert p.grad.isfinite().all(), name
        optimizer.step()
    assert losses[0] == pytest.approx(torch.tensor(VOCAB).log().item(), abs=0.1)
    assert losses[-1] < losses[0] - 0.3


@families
def test_the_start_is_the_seeds_alone_and_weights_survive_a_round_trip(
    family: str, fields: dict[str, Any]
) -> None:
    torch.manual_seed(1)
    first = make(family, fields, seed=3)
    torch.manual_seed(2)
    second, other = make(family, fields, seed=3), make(family, fields, seed=4)
    weights = first.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in second.state_dict().items())
    blocks = tokens(2, 21)
    expected = first.token_losses(blocks)
    assert not torch.equal(other.token_losses(blocks), expected)
    other.load_state_dict(weights)
    assert torch.equal(other.token_losses(blocks), expected)


@families
def test_losses_are_those_of_the_logits(family: str, fields: dict[str, Any]) -> None:
    model = make(family, fields)
    blocks = tokens(3, 40)
    logits = model(blocks[:, :-1])
    assert logits.shape == (3, 39, VOCAB)
    expected = F.cross_entropy(
        logits.flatten(0, 1), blocks[:, 1:].flatten(), reduction="none"
    ).view(3, 39)
    torch.testing.assert_close(model.token_losses(blocks), expected)
    with torch.no_grad():
        torch.testing.assert_close(model.token_losses(blocks), expected)
    assert text_loss(model, blocks) == pytest.approx(expected.mean().item(), abs=1e-5)


@families
def test_a_classifier_does_not_see_padding(family: str, fields: dict[str, Any]) -> None:
    model = make(family, fields, n_classes=3)
    seen, lengths = tokens(2, 40), (40, 23)
    mask = torch.arange(40) < torch.tensor(lengths)[:, None]
    logits = model(seen, mask)
    assert logits.shape == (2, 3)
    torch.testing.assert_close(model(torch.where(mask, seen, 0), mask), logits, rtol=0, atol=1e-6)
    for i, n in enumerate(lengths):
        torch.testing.assert_close(model(seen[i : i + 1, :n])[0], logits[i], rtol=0, atol=1e-6)
    with pytest.raises(ConfigError, match="a language model predicts tokens"):
        model.token_losses(seen)


@families
@pytest.mark.parametrize("n_classes", [0, 3])
def test_flops_are_those_that_torch_counts(
    family: str, fields: dict[str, Any], n_classes: int
) -> None:
    model = make(family, fields, n_layers=2, n_classes=n_classes)
    for n in (16, 41):
        # The counter knows no fused LSTM and no fused attention of a CPU.
        counter = FlopCounterMode(display=False)
        with (
            torch.no_grad(),
            sdpa_kernel(SDPBackend.MATH),
            torch.backends.mkldnn.flags(enabled=False),
            counter,
        ):
            model(tokens(1, n))
        assert model.forward_flops(n) == counter.get_total_flops()


@families
def test_what_is_kept_for_the_gradient_is_linear_in_time(
    family: str, fields: dict[str, Any]
) -> None:
    model = make(family, fields, n_positions=768)

    def kept(n: int) -> int:
        storages: dict[int, Tensor] = {}

        def pack(x: Tensor) -> Tensor:
            storages[x.untyped_storage().data_ptr()] = x
            return x

        with saved_tensors_hooks(pack, lambda x: x):
            model.hidden(tokens(1, n))
        return sum(x.untyped_storage().nbytes() for x in storages.values())

    assert kept(768) < 2.05 * kept(384)


@families
def test_sizes_are_checked(family: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="at most 160 positions; got 161"):
        make(family, fields)(tokens(1, 161))
    for wrong in ({"d_model": 0}, {"n_heads": 3}, {"n_classes": -1}, {"n_layers": 0}):
        with pytest.raises(ConfigError):
            make(family, fields, **wrong)


def test_a_familys_own_sizes_are_checked() -> None:
    wrong = {
        "simple-nsm": ({"gate": "sru"}, {"top_k": 17}, {"n_states": 0}, {"chunk": 0}),
        "sequential-hybrid": ({"n_slots": 0}, {"d_state": 0}),
        "performer": ({"n_features": 0},),
        "linformer": ({"n_slots": 0},),
        "mamba": ({"d_state": 0},),
    }
    for family, several in wrong.items():
        for fields in several:
            with pytest.raises(ConfigError):
                make(family, fields)
    model = plugins.load("models", "simple-nsm").value
    with pytest.raises(
        ConfigError, match="simple-nsm is configured by NSMConfig; got 'SequenceConfig'"
    ):
        model(SequenceConfig(VOCAB))
