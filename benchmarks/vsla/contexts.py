"""Contexts that follow the text against fixed ones of the same mean: small models trained by AdamW on one text, 3 seeds.

The threshold of a signal is a quantile of it over the training text, so that about as many segments expand as leave the rule
without a drift. The gradient norm of a segment, which is no policy since it needs the future, is reported beside the signals.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from clso.data import load_corpus
from clso.models.attention_contexts import SEGMENT, ContextPolicy, token_signals
from clso.models.gpt2 import text_loss
from clso.models.packed_text import PackedText, packed_text
from clso.models.vsla import VSLA, VSLAConfig

__all__ = ["measure"]

SEEDS = (0, 1, 2)
_LONGEST, _PER_STEP, _RATE = 1024, 4096, 2e-3
_START, _LOW, _HIGH = 192, 48, 768
_EXPANDING = 0.35  # of segments, by their signal


def measure(device: str) -> Iterator[dict[str, Any]]:
    on_cpu = device == "cpu"
    steps, width = (150, 64) if on_cpu else (300, 256)
    corpus = load_corpus("python-stdlib", "bytes")

    def text_of(split: str, n_tokens: int) -> PackedText:
        lengths = corpus.document_lengths(split)
        return packed_text(corpus.tokens(split), lengths, _LONGEST, n_tokens).to(device)

    train, test = text_of("train", steps * _PER_STEP), text_of("test", 1 << 16)
    counts = torch.bincount(train.tokens, minlength=corpus.vocab_size).double() + 1
    unigrams = (counts / counts.sum()).log().float()
    base: dict[str, Any] = {
        "vocab_size": corpus.vocab_size,
        "n_positions": _LONGEST,
        "d_model": width,
        "n_layers": 2,
        "n_heads": 2,
    }
    for signal in ("entropy", "perplexity"):
        policy = ContextPolicy(signal, _threshold(train, signal, unigrams), _START, _LOW, _HIGH)
        probe = _model(base, policy.label, unigrams, 0).to(device)
        found = probe.contexts(train.tokens[: train.offsets[64]], train.offsets[:65])[0][
            "contexts"
        ][0]
        contexts = list(chain.from_iterable(found))
        mean = float(np.mean(contexts))
        grown = [b > a for one in found for a, b in pairwise(one)]
        for pattern in (policy.label, f"local:{round(mean)}"):
            losses = []
            for seed in SEEDS:
                model = _train(_model(base, pattern, unigrams, seed).to(device), train, seed)
                losses.append(text_loss(model.eval(), test))
            yield {
                "signal": signal,
                "pattern": pattern,
                "losses": losses,
                "mean_context": mean,
                "expanding": float(np.mean(grown)),
                "context_quantiles": np.quantile(contexts, (0.1, 0.5, 0.9)).tolist(),
                "steps": steps,
                "tokens_a_step": _PER_STEP,
                "sizes": base,
            }
    losses = [
        text_loss(_train(_model(base, "full", unigrams, s).to(device), train, s).eval(), test)
        for s in SEEDS
    ]
    yield {"signal": None, "pattern": "full", "losses": losses, "steps": steps, "sizes": base}
    yield _gradient_norms(
        _train(_model(base, "full", unigrams, 0).to(device), train, 0), test, unigrams
    )


def _threshold(text: PackedText, signal: str, unigrams: Tensor) -> float:
    documents = torch.tensor_split(text.tokens, text.offsets[1:-1])
    values = [v for d in documents for v in token_signals(signal, d, unigrams)]
    return float(f"{np.quantile(values, 1 - _EXPANDING):g}")


def _model(sizes: dict[str, Any], pattern: str, unigrams: Tensor, seed: int) -> VSLA:
    model = VSLA(VSLAConfig(**sizes, patterns=(pattern,) * sizes["n_layers"]))
    model.init_weights(torch.Generator().manual_seed(seed))
    if model.unigram_log_p is not None:
        model.unigram_log_p.copy_(unigrams.to(model.unigram_log_p.device))
    return model


def _train(model: VSLA, text: PackedText, seed: int) -> VSLA:
    """One pass over the text in an order of its own, the rate warmed up and let down."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, betas=(0.9, 0.95), weight_decay=0.1)
    batches = list(text.batches(_PER_STEP))
    order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(seed)).tolist()
    for step, at in enumerate(order):
        share = step / len(order)
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1.0, 20 * share + 0.05) * (1 - share)
        batch = batches[at]
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(
            model.packed_losses(batch.tokens, batch.offsets, batch.targets).mean()
        )
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


def _gradient_norms(model: VSLA, text: PackedText, unigrams: Tensor) -> dict[str, Any]:
    """Of the loss of single segments of some documents, and how they rank beside the signals."""
    norms: list[float] = []
    signals: dict[str, list[float]] = {"entropy": [], "perplexity": []}
    bounds = text.offsets.tolist()
    for a, b in pairwise(bounds):
        if b - a <= SEGMENT or len(norms) > 60:
            continue
        found = {s: token_signals(s, text.tokens[a:b], unigrams) for s in signals}
        losses = model.packed_losses(text.tokens[a:b], torch.tensor([0, b - a]), text.targets[a:b])
        for s, values in found.items():
            signals[s] += values
        for at in range(len(found["entropy"])):
            loss = losses[at * SEGMENT : (at + 1) * SEGMENT].mean()
            gradients = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
            norms.append(float(sum(g.double().square().sum() for g in gradients)) ** 0.5)
    ranks = {
        s: float(spearmanr(norms, values[: len(norms)]).statistic) for s, values in signals.items()
    }
    return {
        "signal": "gradient norm",
        "pattern": "full",
        "segments": len(norms),
        "quantiles": np.quantile(norms, (0.1, 0.5, 0.9)).tolist(),
        "rank_correlation": ranks,
    }
