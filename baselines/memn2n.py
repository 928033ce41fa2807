"""End-to-end memory network (Sukhbaatar et al. 2015, arXiv:1503.08895): hops of attention over
remembered sentences."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.errors import ConfigError
from clso.models.gpt2 import LanguageModel
from clso.models.sequence import SequenceConfig

__all__ = ["MemN2N", "MemN2NConfig"]


@dataclass(frozen=True)
class MemN2NConfig(SequenceConfig):
    """`n_layers` hops over the `n_memories` newest sentences. A sentence ends with the token
    `separator`; if there is none, after every `window` tokens. `n_heads` makes no difference."""

    n_layers: int = 3
    n_memories: int = 50
    separator: int = 0
    window: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_memories", "window"):
            self.require_at_least(1, name)
        if not 0 <= self.separator < self.vocab_size:
            raise ConfigError("separator is a token, or 0 for none", got=self.separator)


class MemN2N(LanguageModel):
    """A classifier reads the last sentence as its question. Memories of hop k are the outputs of hop
    k - 1 (the paper's adjacent tying), with position encoding (section 4.1) and embeddings of age;
    the answer has a matrix of its own. Linear start and random empty memories are left out.

    A language model (`n_classes` 0) asks with each token, and remembers single ones, itself among
    them."""

    name = "memn2n"
    capturable = True
    Config = MemN2NConfig

    def __init__(self, config: MemN2NConfig) -> None:
        super().__init__()
        self.config: MemN2NConfig = config
        hops = range(config.n_layers + 1)
        self.words = nn.ModuleList(nn.Embedding(config.vocab_size, config.d_model) for _ in hops)
        self.ages = nn.ModuleList(nn.Embedding(config.n_memories, config.d_model) for _ in hops)
        self.head = nn.Linear(config.d_model, config.n_classes or config.vocab_size, bias=False)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> MemN2N:
        """Normal with deviation 0.1, as in the paper. Returns self."""
        for weights in self.parameters():
            weights.normal_(0.0, 0.1, generator=generator)
        return self

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits: (B, T) -> (B, n_classes), or (B, T, vocab_size) of a language model. `mask` (B, T)
        is true on tokens, false on the padding after them."""
        if self.config.n_classes:
            return self._answer(
                tokens, torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
            )
        n, n_memories = tokens.shape[1], self.config.n_memories
        # of each token the newest memories, the oldest first: (B, T, n_memories)
        seen = F.pad(tokens, (n_memories - 1, 0)).unfold(1, n_memories, 1)
        place = torch.arange(n, device=tokens.device)[:, None]
        ages = torch.arange(n_memories - 1, -1, -1, device=tokens.device)
        memories = [
            words(seen) + age(ages) for words, age in zip(self.words, self.ages, strict=True)
        ]
        out: Tensor = self.head(_hops(self.words[0](tokens), memories, ages <= place))
        return out

    def token_losses(self, blocks: Tensor) -> Tensor:
        """Negative log-likelihood of each target in nats: blocks (n, T + 1) -> (n, T). Raises
        `ConfigError` for a classifier."""
        if self.config.n_classes:
            raise ConfigError("a language model predicts tokens", got=self.config.n_classes)
        logits, targets = self(blocks[:, :-1]), blocks[:, 1:]
        return F.cross_entropy(logits.mT.float(), targets, reduction="none")

    def _answer(self, tokens: Tensor, mask: Tensor) -> Tensor:
        place, size, age = self._sentences(tokens, mask)
        n_memories = self.config.n_memories
        # which token is of which sentence, the question (age 0) first: (B, 1 + n_memories, T)
        ages = torch.arange(n_memories + 1, device=tokens.device)
        member = (age[:, None] == ages[:, None]) & mask[:, None]
        code = self._position_code(place, size).to(self.head.weight.dtype)
        of = [torch.bmm(member.to(code.dtype), words(tokens) * code) for words in self.words]
        every_age = torch.arange(n_memories, device=tokens.device)
        memories = [
            bags[:, None, 1:] + by_age(every_age)
            for bags, by_age in zip(of, self.ages, strict=True)
        ]
        found = _hops(of[0][:, :1], memories, member[:, None, 1:].any(-1))
        out: Tensor = self.head(found[:, 0])
        return out

    def _sentences(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each token: its place in its sentence from 1 on, the sentence's length, and how many
        sentences come after it. All (B, T)."""
        steps = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        if self.config.separator:
            starts = F.pad((tokens == self.config.separator)[:, :-1], (1, 0))
        else:
            starts = steps % self.config.window == 0
        starts = starts & (steps > 0)
        number = starts.cumsum(1)
        began = torch.where(starts, steps, 0).cummax(1).values
        place = steps - began + 1
        size = torch.zeros_like(place).scatter_reduce(1, number, place * mask, "amax")
        last = (number * mask).amax(1, keepdim=True)
        return place, size.gather(1, number).clamp_min(1), last - number

    def _position_code(self, place: Tensor, size: Tensor) -> Tensor:
        """l_kj = (1 - j / J) - (k / d) (1 - 2 j / J), (B, T, d)."""
        share = (place / size)[..., None]
        d = self.config.d_model
        k = torch.arange(1, d + 1, device=place.device) / d
        return (1 - share) - k * (1 - 2 * share)


def _hops(query: Tensor, memories: list[Tensor], is_there: Tensor) -> Tensor:
    """query (B, Q, d), memories (B, Q, M, d) by hop, of which `is_there` (..., Q, M) says which to
    look at; no memory at all adds nothing."""
    for memory, output in pairwise(memories):
        scores = (memory @ query[..., None])[..., 0].masked_fill(~is_there, -torch.inf)
        weights = torch.softmax(scores, dim=-1).nan_to_num(0.0)
        query = query + (weights[..., None, :] @ output)[..., 0, :]
    return query
