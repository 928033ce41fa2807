"""The peers against their recurrences, token by token, and against other implementations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from clso import plugins
from clso.baselines.linformer import SlotAttention
from clso.baselines.lstm import LSTM
from clso.baselines.mamba import Mamba, MambaConfig
from clso.baselines.performer import FavorAttention
from clso.baselines.rwkv import RWKV, wkv
from clso.baselines.transformer import Transformer
from clso.models.layers import CausalAttention, init_weights
from clso.models.sequence import SequenceConfig

D, HEADS, T = 12, 2, 29
CONFIG = SequenceConfig(vocab_size=11, d_model=D, n_heads=HEADS)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def start(layer: Any) -> Any:
    init_weights(layer.double(), torch.Generator().manual_seed(0))
    return layer


def heads_of(x: Tensor) -> list[Tensor]:
    """(T, D) -> a (T, d_head) for each head."""
    return list(x.split(D // HEADS, dim=1))  # type: ignore[no-untyped-call]


def test_a_transformer_attends_to_what_was() -> None:
    layer = start(CausalAttention(D, HEADS))
    x = drawn(T, D)
    rows = []
    for t in range(T):
        q, k, v = layer.qkv(x[: t + 1]).split(D, dim=1)
        parts = zip(heads_of(q), heads_of(k), heads_of(v), strict=True)
        rows.append(
            torch.cat([torch.softmax(k @ q[t] / (D // HEADS) ** 0.5, 0) @ v for q, k, v in parts])
        )
    torch.testing.assert_close(layer(x[None])[0], layer.out(torch.stack(rows)))
    assert len(Transformer(CONFIG).blocks) == 2


def test_the_lstm_is_its_cell() -> None:
    model = start(LSTM(CONFIG))
    x = drawn(1, T, D)
    expected = x[0]
    for layer in range(2):
        cell = torch.nn.LSTMCell(D, D).double()
        cell.load_state_dict(
            {n: getattr(model.lstm.lstm, f"{n}_l{layer}") for n in cell.state_dict()}
        )
        state, rows = (torch.zeros(1, D).double(), torch.zeros(1, D).double()), []
        for row in expected:
            state = cell(row[None], state)
            rows.append(state[0])
        expected = torch.cat(rows)
    torch.testing.assert_close(model.body(x)[0], expected)
    bias = model.lstm.lstm.bias_ih_l1
    assert torch.equal(bias, F.pad(torch.ones(D), (D, 2 * D)).double())  # forget gates start open


@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_a_performer_is_its_sums(chunk: int) -> None:
    layer = start(FavorAttention(D, HEADS, 9, chunk))
    x = drawn(T, D) * 2
    columns = []
    for q, k, v in zip(*(heads_of(m) for m in layer.qkv(x).split(D, dim=1)), strict=True):
        total, weight, rows = torch.zeros(9, D // HEADS).double(), torch.zeros(9).double(), []
        for t in range(T):
            scaled_q, scaled_k = q[t] / (D // HEADS) ** 0.25, k[t] / (D // HEADS) ** 0.25
            phi_k = torch.exp(layer.directions @ scaled_k - scaled_k @ scaled_k / 2) + 1e-6
            phi_q = (
                torch.exp(layer.directions @ scaled_q - (layer.directions @ scaled_q).max()) + 1e-6
            )
            total, weight = total + phi_k[:, None] * v[t], weight + phi_k
            rows.append(phi_q @ total / (phi_q @ weight))
        columns.append(torch.stack(rows))
    torch.testing.assert_close(layer(x[None])[0], layer.out(torch.cat(columns, dim=1)))


def test_many_features_of_a_performer_are_attention() -> None:
    exact, near = start(CausalAttention(D, HEADS)), start(FavorAttention(D, HEADS, 6000, 64))
    near.load_state_dict({**exact.state_dict(), "directions": near.directions})
    x = drawn(1, T, D) / 4
    assert (near(x) - exact(x)).norm() < 0.01 * exact(x).norm()
    block = near.directions[: D // HEADS]
    products = block @ block.T
    torch.testing.assert_close(products, torch.diag(products.diag()))  # orthogonal


@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_a_linformer_attends_to_its_slots(chunk: int) -> None:
    layer = start(SlotAttention(D, HEADS, 40, 7, chunk))
    x = drawn(T, D)
    columns = []
    for q, k, v in zip(*(heads_of(m) for m in layer.qkv(x).split(D, dim=1)), strict=True):
        keys, values, rows = (
            torch.zeros(7, D // HEADS).double(),
            torch.zeros(7, D // HEADS).double(),
            [],
        )
        for t in range(T):
            keys = keys + layer.key_slots[:, t, None] * k[t]
            values = values + layer.value_slots[:, t, None] * v[t]
            rows.append(torch.softmax(keys @ q[t] / (D // HEADS) ** 0.5, 0) @ values)
        whole = torch.softmax(q @ (layer.key_slots[:, :T] @ k).T / (D // HEADS) ** 0.5, 1) @ (
            layer.value_slots[:, :T] @ v
        )
        torch.testing.assert_close(rows[-1], whole[-1])  # the paper's attention, at the last token
        columns.append(torch.stack(rows))
    torch.testing.assert_close(layer(x[None])[0], layer.out(torch.cat(columns, dim=1)))


def test_wkv_is_its_weighted_mean() -> None:
    rate, bonus = drawn(D).exp().requires_grad_(), drawn(D, seed=1).requires_grad_()
    key, value = (drawn(2, T, D, seed=seed).requires_grad_() for seed in (2, 3))
    rows = []
    for t in range(T):
        weights = torch.exp(key[:, :t] - (t - 1 - torch.arange(t))[:, None] * rate)
        now = torch.exp(bonus + key[:, t])
        rows.append(((weights * value[:, :t]).sum(1) + now * value[:, t]) / (weights.sum(1) + now))
    found, expected = wkv(rate, bonus, key, value), torch.stack(rows, 1)
    torch.testing.assert_close(found, expected)
    inputs, weights = [rate, bonus, key, value], drawn(2, T, D, seed=4)
    gradients = [torch.autograd.grad((y * weights).sum(), inputs) for y in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_wkv_of_huge_keys_is_finite() -> None:
    key = (drawn(1, 500, D) * 300).float()
    value = drawn(1, 500, D, seed=1).float()
    rate = torch.logspace(-3, 2, D)
    found = wkv(rate, torch.zeros(D), key, value)
    expected = wkv(rate.double(), torch.zeros(D).double(), key.double(), value.double())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4)


def test_rwkv_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    model = RWKV(CONFIG)
    model.init_weights(torch.Generator().manual_seed(0))
    theirs = transformers.RwkvModel(
        transformers.RwkvConfig(vocab_size=11, hidden_size=D, num_hidden_layers=2)
    ).eval()
    names = {"pre_ln.": "blocks.0.pre_ln.", "embedding.": "embeddings.", "norm.": "ln_out."}
    weights = {}
    for name, value in model.state_dict().items():
        old = next((old for old in names if name.startswith(old)), "")
        weights[names.get(old, "") + name.removeprefix(old)] = value
    del weights["head.weight"]
    theirs.load_state_dict(weights)
    tokens = torch.randint(11, (2, T), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            model.hidden(tokens), theirs(tokens).last_hidden_state, rtol=0, atol=1e-5
        )


def test_mamba_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    model = Mamba(MambaConfig(vocab_size=11, d_model=D, n_heads=HEADS, d_state=5))
    model.init_weights(torch.Generator().manual_seed(0))
    sizes = {"hidden_size": D, "state_size": 5, "num_hidden_layers": 2, "time_step_rank": 1}
    theirs = transformers.MambaModel(transformers.MambaConfig(vocab_size=11, **sizes)).eval()
    theirs.layers.load_state_dict(model.blocks.state_dict())
    x = drawn(2, T, D).float()
    with torch.no_grad():
        expected = x
        for block in theirs.layers:
            expected = block(expected)
        torch.testing.assert_close(model.body(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["rwkv", "mamba", "performer", "linformer"])
def test_long_sequences_in_low_precision(name: str) -> None:
    """Finite, and near float64, at 2,048 tokens."""
    kind = plugins.load("models", name).value

    def logits(dtype: torch.dtype) -> Tensor:
        model = kind(
            kind.Config(
                vocab_size=16, d_model=16, n_layers=2, n_heads=2, n_positions=2048, n_classes=0
            )
        )
        model.init_weights(torch.Generator().manual_seed(0))
        tokens = torch.randint(16, (1, 2048), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            out: Tensor = model.to(dtype)(tokens).double()
        return out

    exact = logits(torch.float64)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.1)):
        error = (logits(dtype) - exact).norm() / exact.norm()
        assert error < tolerance  # false for NaN, too
