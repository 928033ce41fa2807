"""VSLA: GPT-2 over documents of any lengths, never padded, with an attention pattern for each layer or head.

    model = VSLA(VSLAConfig(patterns=("full", "local:64+pyramid:32")))
    logits = model.packed(tokens, offsets)          # (N,), (documents + 1,) -> (N, vocab_size)

Parameters have GPT-2's names and shapes (`clso.models.gpt2`), so that weights go from one to the other; with every pattern
full it is GPT-2. Patterns are explained in `clso.models.attention_patterns`, adaptive ones in
`clso.models.attention_contexts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from clso.errors import ConfigError, RunFolderError, ShapeError
from clso.models.attention import attend_heads, backend
from clso.models.attention_adaptive import Evidence
from clso.models.attention_patterns import Adaptive, Full, Pattern, parse_layer
from clso.models.attention_reference import reference_attention
from clso.models.documents import Documents
from clso.models.gpt2 import GPT2, MLP, GPT2Config, LanguageModel, init_gpt2
from clso.models.head_loss import row_losses
from clso.ragged.offsets import check_offsets

__all__ = ["VSLA", "VSLAConfig", "as_gpt2"]


@dataclass(frozen=True)
class VSLAConfig(GPT2Config):
    """GPT-2's sizes, and `patterns`: one string a layer, each one pattern or one a head joined by `+`; none: all full."""

    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.patterns, str):
            raise ConfigError(
                "patterns are one string a layer", got=self.patterns, remedy="Give a tuple."
            )
        object.__setattr__(self, "patterns", tuple(self.patterns) or ("full",) * self.n_layers)
        if len(self.patterns) != self.n_layers:
            raise ConfigError(
                f"patterns are one string a layer, {self.n_layers}", got=len(self.patterns)
            )
        _ = self.heads

    @cached_property
    def heads(self) -> tuple[tuple[Pattern, ...], ...]:
        """The pattern of each head of each layer."""
        return tuple(parse_layer(text, self.n_heads) for text in self.patterns)

    @property
    def is_full(self) -> bool:
        """Whether this is a GPT-2: no pattern leaves anything out at any length that it takes."""
        return all(isinstance(head, Full) for layer in self.heads for head in layer)

    @property
    def reads_unigrams(self) -> bool:
        adaptive = (head for layer in self.heads for head in layer if isinstance(head, Adaptive))
        return any(head.policy.signal == "perplexity" for head in adaptive)

    def attention_flops(self, n_tokens: int) -> int:
        """FLOPs of scores and averages on one document, an upper bound for adaptive patterns."""
        d_head = self.d_model // self.n_heads
        return sum(head.flops(n_tokens, d_head) for layer in self.heads for head in layer)

    def token_flops(self) -> int:
        """FLOPs of everything but attention's scores and averages, for one token."""
        d = self.d_model
        return self.n_layers * 24 * d * d + 2 * d * self.vocab_size

    def forward_flops(self, n_tokens: int) -> int:
        """FLOPs of one forward pass over one document of `n_tokens`, by the conventions of `clso.models.sequence`."""
        return self.token_flops() * n_tokens + self.attention_flops(n_tokens)


_Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class _Attention(nn.Module):
    """GPT-2's projections; what lies between them is the caller's."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model)
        self.o = nn.Linear(config.d_model, config.d_model)

    def forward(self, x: Tensor, layer: int, attend: _Attend) -> Tensor:
        q, k, v = (
            self.qkv(x).unflatten(1, (3, self.n_heads, -1)).unbind(1)
        )  # (N, heads, d_head) each
        out: Tensor = self.o(attend(layer, q, k, v).flatten(1))
        return out


class _Block(nn.Module):
    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.d_model)
        self.attn = _Attention(config)
        self.ln_2 = nn.LayerNorm(config.d_model)
        self.mlp = MLP(config.d_model, config.d_mlp)

    def forward(self, x: Tensor, layer: int, attend: _Attend) -> Tensor:
        x = x + self.attn(self.ln_1(x), layer, attend)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class VSLA(LanguageModel):
    """The model. If a pattern's signal is the perplexity, the buffer `unigram_log_p` (V,) holds a text's log p in nats.

    Example:
        >>> model = VSLA(VSLAConfig(vocab_size=50, n_positions=16, d_model=8)).init_weights(torch.Generator())
        >>> model.packed(torch.tensor([1, 2, 3, 4]), torch.tensor([0, 3, 4])).shape
        torch.Size([4, 50])
    """

    name = "vsla"

    def __init__(self, config: VSLAConfig) -> None:
        super().__init__()
        self.config: VSLAConfig = config
        # Given a weight, an embedding draws none; on the meta device that would import torch's compiler (2 s).
        v, t, d = config.vocab_size, config.n_positions, config.d_model
        self.wte = nn.Embedding(v, d, _weight=torch.empty(v, d))
        self.wpe = nn.Embedding(t, d, _weight=torch.empty(t, d))
        self.h = nn.ModuleList(_Block(config) for _ in range(config.n_layers))
        self.ln_f = nn.LayerNorm(d)
        self.head = nn.Linear(d, v, bias=False)
        if config.tied_head:
            self.head.weight = self.wte.weight
        self.unigram_log_p: Tensor | None
        uniform = torch.full((v,), -math.log(v)) if config.reads_unigrams else None
        self.register_buffer("unigram_log_p", uniform)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> VSLA:
        """GPT-2's random start (`clso.models.gpt2.init_gpt2`). Returns self."""
        init_gpt2(self, self.config.n_layers, generator)
        return self

    def packed_hidden(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """Final hidden states (N, d_model), after `ln_f`, of documents in one row of tokens (N,)."""
        documents = self._documents(tokens, offsets)
        x, _ = self._run(documents, documents.arrange(tokens))
        return documents.restore(x)

    def packed(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """Logits (N, vocab_size) of documents in one row of tokens (N,); positions begin anew in each.

        `offsets` (documents + 1,) rise from 0 to N. A document's logits do not depend on the others. Raises `ShapeError`.
        """
        out: Tensor = self.head(self.packed_hidden(tokens, offsets))
        return out

    def packed_losses(self, tokens: Tensor, offsets: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood (N,) in nats of each token's target (N,); without gradients, logits are never all held."""
        return self._losses(self.packed_hidden(tokens, offsets), targets)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (batch, time, vocab_size) of documents of one length. A language model has no use for a mask."""
        out: Tensor = self.head(self._equal_hidden(tokens)).unflatten(0, tokens.shape)
        return out

    def token_losses(self, blocks: Tensor) -> Tensor:
        return self._losses(self._equal_hidden(blocks[:, :-1]), blocks[:, 1:].flatten()).view(
            len(blocks), -1
        )

    def reference(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """What `packed` gives, by dense masks over all N x N pairs; on a CPU, for tests."""
        bounds = check_offsets(offsets, len(tokens), self.config.n_positions)
        evidence = Evidence(tokens, self.unigram_log_p)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            heads = enumerate(self.config.heads[layer])
            found = [
                reference_attention(p, q[:, h], k[:, h], v[:, h], bounds, evidence)
                for h, p in heads
            ]
            return torch.stack(found, 1)

        positions = torch.cat([torch.arange(b - a) for a, b in pairwise(bounds)])
        x = self.wte(tokens) + self.wpe(positions)
        for layer, block in enumerate(self.h):
            x = block(x, layer, attend)
        out: Tensor = self.head(self.ln_f(x))
        return out

    @torch.no_grad()
    def contexts(self, tokens: Tensor, offsets: Tensor) -> list[dict[str, Any]]:
        """What adaptive patterns did on a batch: by layer and pattern, `contexts` by head, document and segment.

        Documents are in the order of their lengths.
        """
        documents = self._documents(tokens, offsets)
        _, seen = self._run(documents, documents.arrange(tokens))
        return [
            {"layer": layer, "pattern": policy.label, "contexts": found}
            for layer, policies in enumerate(seen)
            for policy, found in policies
        ]

    @torch.no_grad()
    def packed_flops(self, tokens: Tensor, offsets: Tensor) -> int:
        """FLOPs of one forward pass over these documents, head included, with the contexts that they get."""
        documents = self._documents(tokens, offsets)
        d_head = self.config.d_model // self.config.n_heads
        total = self.config.token_flops() * len(tokens)
        for layer in self.config.heads:
            fixed = [head for head in layer if not isinstance(head, Adaptive)]
            total += sum(head.flops(n, d_head) for head in fixed for n in documents.lengths)
        if not any(isinstance(head, Adaptive) for layer in self.config.heads for head in layer):
            return total
        for entry in self.contexts(tokens, offsets):
            pattern = next(
                p for p in self.config.heads[entry["layer"]] if p.label == entry["pattern"]
            )
            assert isinstance(pattern, Adaptive)
            for head in entry["contexts"]:
                total += sum(
                    pattern.flops_of(found, n, d_head)
                    for found, n in zip(head, documents.lengths, strict=True)
                )
        return total

    def forward_flops(self, n_tokens: int) -> int:
        """FLOPs of one forward pass over one document, head included; an upper bound for adaptive patterns."""
        return self.config.forward_flops(n_tokens)

    def attention_backend(self, device: torch.device, dtype: torch.dtype) -> str:
        """How attention is executed there, in words."""
        heads = [head for layer in self.config.heads for head in layer]
        return backend(heads, device, dtype, self.config.d_model // self.config.n_heads)

    def _losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return nn.functional.cross_entropy(self.head(hidden).float(), targets, reduction="none")
        return row_losses(hidden, self.head.weight, targets)

    def _equal_hidden(self, tokens: Tensor) -> Tensor:
        """(batch, time) -> (batch * time, d_model)."""
        if tokens.dim() != 2:
            raise ShapeError("tokens of equal lengths are (batch, time)", got=tuple(tokens.shape))
        batch, time = tokens.shape
        return self.packed_hidden(tokens.flatten(), torch.arange(batch + 1) * time)

    def _documents(self, tokens: Tensor, offsets: Tensor) -> Documents:
        if tokens.dim() != 1:
            raise ShapeError("packed tokens are (N,)", got=tuple(tokens.shape))
        return Documents(offsets, len(tokens), tokens.device, self.config.n_positions)

    def _run(self, documents: Documents, tokens: Tensor) -> tuple[Tensor, list[list[Any]]]:
        """Hidden states in the documents' order, and what each layer's adaptive patterns saw."""
        seen: list[list[Any]] = [[] for _ in self.h]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            evidence = Evidence(tokens, self.unigram_log_p, seen[layer])
            return attend_heads(self.config.heads[layer], q, k, v, documents, evidence)

        x = self.wte(tokens) + self.wpe(documents.positions)
        for layer, block in enumerate(self.h):
            x = block(x, layer, attend)
        out: Tensor = self.ln_f(x)
        return out, seen


def as_gpt2(model: VSLA) -> GPT2:
    """The GPT-2 that a VSLA is if all its patterns are full. Raises `RunFolderError` for another."""
    config = model.config
    if not config.is_full:
        raise RunFolderError(
            "transformers reads exact GPT-2s only, which see every token",
            problem=f"this is a VSLA with the patterns {', '.join(config.patterns)}",
            remedy="Read it with clso.models.store.load_model, or search with `--option patterns=full`.",
        )
    sizes = {name: getattr(config, name) for name in GPT2Config.__dataclass_fields__}
    with torch.device("meta"):
        gpt2 = GPT2(GPT2Config(**sizes))
    gpt2.load_state_dict(model.state_dict(), assign=True)
    return gpt2.eval()
