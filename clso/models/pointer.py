"""A pointer over the block's own tokens, mixed with a language model in probability space.

Pointer sentinel mixture (Merity et al. 2017, arXiv:1609.07843): one softmax over a sink and the
positions s <= t of the block. The sink's share goes to the language model, a position's share to
the token that stands there:

    p(y | t) = a_sink p_LM(y | t) + sum_{s <= t} a_s [x_s = y],        a = softmax([sink_t, score_t0, ..., score_tt])

    score_ts = salience r(x_s) + plausible log p_LM(x_s | t) + own [s = t]
             + match exp(match_rarity r(x_t))      where x_{s-1} = x_t (an induction head's match), else
             + fuzzy cos(c_t, c_{s-1})             with c a linear map of the model's final hidden states
             + match_two                           where x_{s-2} x_{s-1} = x_{t-1} x_t
    sink_t   = sink + sink_position log(1 + t)

r(v) <= 0 is a token's rarity, 0 for a token never seen. Comparing hidden states is the continuous
cache of Grave et al. (2017, arXiv:1612.04426). Everything at t depends on tokens up to t alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.errors import ConfigError
from clso.models.gpt2 import GPT2, LanguageModel
from clso.models.head_loss import row_losses

__all__ = ["SCALARS", "PointerGPT2", "mixture_losses", "pointer_scores", "unit_codes"]

SCALARS = (
    "salience",
    "match",
    "match_rarity",
    "match_two",
    "plausible",
    "own",
    "fuzzy",
    "sink",
    "sink_position",
)
"""The pointer's numbers, one of each a model."""

# scores of the blocks that are looked at together: 16 MB, and a few copies of them
_SCORE_ELEMENTS = 1 << 22


def unit_codes(hidden: Tensor, projection: Tensor) -> Tensor:
    """Hidden states (..., d) as unit codes (..., k); `projection` is (d, k) or a stack that
    broadcasts."""
    return F.normalize(hidden @ projection, dim=-1)


def pointer_scores(
    scalars: Mapping[str, Tensor], tokens: Tensor, log_p: Tensor, rarity: Tensor, codes: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores (P, B, T, T) of the positions s <= t, -inf for later ones, and of the sink (P, 1, T),
    for P pointers.

    `scalars` holds (P,) each, `tokens` is (B, T) and shared, `log_p` (P, B, T, T) is log p_LM(x_s |
    t), `rarity` (P, B, T), `codes` (P, B, T, k) of unit length."""
    t = tokens.shape[1]
    number = {name: value[:, None, None, None] for name, value in scalars.items()}
    same = tokens[:, :, None] == tokens[:, None, :]
    match = F.pad(same[:, :, :-1], (1, 0))
    two = match & F.pad(match[:, :-1, :-1], (1, 0, 1, 0))
    similarity = F.pad(codes @ codes[:, :, :-1].transpose(2, 3), (1, 0))
    exact = number["match"] * torch.exp(number["match_rarity"] * rarity[..., None])
    scores = torch.where(match, exact, number["fuzzy"] * similarity)
    scores = scores + number["match_two"] * two
    scores = scores + number["salience"] * rarity[:, :, None, :]
    scores = scores + number["plausible"] * log_p
    scores.diagonal(dim1=2, dim2=3).add_(number["own"][..., 0])
    future = torch.ones(t, t, dtype=torch.bool, device=tokens.device).triu(1)
    position = torch.arange(t, device=tokens.device).float().log1p()
    sink = scalars["sink"][:, None, None] + scalars["sink_position"][:, None, None] * position
    return scores.masked_fill_(future, -torch.inf), sink


def mixture_losses(
    scores: Tensor, sink: Tensor, tokens: Tensor, targets: Tensor, lm_losses: Tensor
) -> Tensor:
    """Negative log-likelihood (P, B, T) of targets (B, T) from the scores and from the model's own
    losses (P, B, T)."""
    total = torch.logaddexp(scores.logsumexp(3), sink)
    elsewhere = tokens[:, None, :] != targets[:, :, None]
    copied = scores.masked_fill(elsewhere, -torch.inf).logsumexp(3)
    return total - torch.logaddexp(copied, sink - lm_losses)


class PointerGPT2(LanguageModel):
    """A GPT-2 and its pointer. `rarity` is (V,), `projection` (d_model, k), `scalars` has a number
    for each of `SCALARS`.

    Raises `ConfigError` if these do not belong together.
    """

    rarity: Tensor
    projection: Tensor

    def __init__(
        self, lm: GPT2, rarity: Tensor, projection: Tensor, scalars: Mapping[str, float]
    ) -> None:
        super().__init__()
        if set(scalars) != set(SCALARS):
            raise ConfigError(
                f"a pointer has the numbers {', '.join(SCALARS)}", got=sorted(scalars)
            )
        if rarity.shape != (lm.config.vocab_size,):
            raise ConfigError(f"rarity is ({lm.config.vocab_size},)", got=tuple(rarity.shape))
        if projection.dim() != 2 or projection.shape[0] != lm.config.d_model:
            raise ConfigError(
                f"projection is ({lm.config.d_model}, k)", got=tuple(projection.shape)
            )
        self.config = lm.config
        self.lm = lm
        self.scalars = {name: float(scalars[name]) for name in SCALARS}
        self.register_buffer("rarity", rarity.float())
        self.register_buffer("projection", projection.float())

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> Tensor:
        """Log-probabilities (batch, time, vocab_size) of the mixture."""
        hidden = self.lm.hidden(tokens)
        log_p = F.log_softmax(self.lm.head(hidden).float(), dim=-1)
        at_tokens = log_p.gather(2, tokens[:, None, :].expand(-1, tokens.shape[1], -1))
        scores, sink = self._scores(tokens, hidden, at_tokens)
        total = torch.logaddexp(scores.logsumexp(2), sink)[..., None]
        share = torch.exp(scores - total)
        copied = torch.zeros_like(log_p).scatter_add_(2, tokens[:, None, :].expand_as(share), share)
        return torch.logaddexp(copied.log(), sink[..., None] - total + log_p)

    @torch.no_grad()
    def token_losses(self, blocks: Tensor) -> Tensor:
        size = max(1, _SCORE_ELEMENTS // blocks.shape[1] ** 2)
        return torch.cat([self._token_losses(part) for part in torch.split(blocks, size)])

    def _token_losses(self, blocks: Tensor) -> Tensor:
        tokens, targets = blocks[:, :-1], blocks[:, 1:]
        hidden, head = self.lm.hidden(tokens), self.lm.head.weight
        losses = row_losses(hidden.flatten(0, 1), head, targets.flatten()).view(targets.shape)
        normaliser = losses + (hidden * head[targets]).sum(2)
        at_tokens = hidden @ head[tokens].transpose(1, 2) - normaliser[..., None]
        scores, sink = self._scores(tokens, hidden, at_tokens)
        return mixture_losses(scores[None], sink[None], tokens, targets, losses[None])[0]

    def _scores(self, tokens: Tensor, hidden: Tensor, log_p: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (batch, T, T) and sink (1, T)."""
        scalars = {
            name: torch.tensor([value], device=tokens.device)
            for name, value in self.scalars.items()
        }
        codes = unit_codes(hidden, self.projection)
        scores, sink = pointer_scores(
            scalars, tokens, log_p[None], self.rarity[tokens][None], codes[None]
        )
        return scores[0], sink[0]
