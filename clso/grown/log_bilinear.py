"""A log-bilinear model (Mnih and Hinton 2007) on grown codes: what the last tokens say together of the next one.

    log p(y | past) = head_y . (maps^T phi(past), 1) - log normaliser

phi puts side by side the codes of the last `LAGS` tokens, their decayed means and a constant. Codes and head come in closed
form from the text's bigrams (`clso.grown.codes`). The maps are a multinomial regression on a text that the codes have not
seen, by iteratively reweighted least squares: each step solves a quadratic, whose curvature is the residuals' own second
moment in the eigenbases of features and head (as in George et al. 2018, arXiv:1806.03884), damped as in Marquardt 1963.
A step that does not help is taken back, so the loss of the text that is fitted never rises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.grown.codes import Codes

__all__ = ["DECAYS", "LAGS", "LogBilinear", "fit_maps", "log_bilinear", "missed_codes"]

LAGS = 5
DECAYS = (0.8, 0.95)
_DAMPING, _LESS, _MORE, _TRIES = 80.0, 1 / 3, 6.0, 3
"""In units of the mean curvature: of the first step; its factors after one that helped, and one that did not."""
_ROWS = 512
"""Positions whose distributions are held at once, where they are held."""
_FLASH = (8, 0)
"""The least compute capability that has attention's kernel."""
_EVEN = 8
"""What the columns of a head have to be a multiple of, for attention's kernel."""
_COLUMNS = 64
"""The vocabulary is filled up to a multiple of these, for matrix units are slow on odd rows."""


@dataclass(frozen=True)
class LogBilinear:
    """The model.

    Attributes
    ----------
    context : (V, r) float16, each token's code as a context.
    head : (V, r + 1) float16, each token's code as a target, and its bias.
    maps : (f, r) float32, f = (`LAGS` + len(`DECAYS`)) r + 1.
    """

    context: Tensor
    head: Tensor
    maps: Tensor

    def require(self, vocab_size: int) -> None:
        """Raises `ValueError` unless the parts fit each other and a vocabulary."""
        v, r = self.context.shape
        if (
            v != vocab_size
            or self.head.shape != (v, r + 1)
            or self.maps.shape != (_n_features(r), r)
        ):
            raise ValueError(
                "a log-bilinear expert of another vocabulary, or in parts that do not fit"
            )

    @property
    def n_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.context, self.head, self.maps))

    def to(self, device: torch.device) -> LogBilinear:
        return LogBilinear(self.context.to(device), self.head.to(device), self.maps.to(device))

    def features(self, tokens: Tensor) -> Tensor:
        """phi of each position: (N, T) -> (N, T, f) float32. Nothing reaches beyond the block."""
        codes, t = self.context[tokens].float(), tokens.shape[1]
        lags = [F.pad(codes, (0, 0, lag, 0))[:, :t] for lag in range(LAGS)]
        age = torch.arange(t, device=codes.device)
        age = age[:, None] - age
        means = []
        for decay in DECAYS:
            share = torch.where(age >= 0, torch.pow(decay, age.clamp(min=0).float()), 0.0)
            means.append((share / share.sum(1, keepdim=True)) @ codes)
        return torch.cat([*lags, *means, torch.ones_like(codes[..., :1])], -1)

    def hidden(self, tokens: Tensor) -> Tensor:
        """What the head is multiplied with: (N, T) -> (N T, r + 1) float32."""
        return _with_one(self.features(tokens).flatten(0, 1) @ self.maps)

    @torch.no_grad()
    def target_probabilities(self, blocks: Tensor) -> Tensor:
        """Of each target: (N, T + 1) -> (N, T) float64."""
        rows, targets = self.hidden(blocks[:, :-1]), blocks[:, 1:].flatten()
        loss, _ = _expected(rows, _filled(self.head, rows.device), targets, codes=False)
        return loss.neg().double().exp().view(len(blocks), -1)

    @torch.no_grad()
    def distribution(self, past: Tensor) -> Tensor:
        """Probabilities (V,) float64 of the token after `past` (t,), t >= 1."""
        logits = self.hidden(past[None])[-1].double() @ self.head.double().T
        return torch.softmax(logits, 0)


def log_bilinear(codes: Codes) -> LogBilinear:
    """The bigram model of the codes, from which `fit_maps` begins.

    Context codes longer than the text's mean one are drawn in, so that rare tokens do not rule the fit.
    """
    length = codes.a.norm(dim=1, keepdim=True)
    mean = (codes.statistics.row @ length[:, 0]) / codes.statistics.row.sum()
    context = codes.a * mean * 2**0.5 / (length.square() + mean.square()).sqrt()
    rank = codes.a.shape[1]
    maps = torch.eye(_n_features(rank), rank)
    head = torch.cat([codes.b, codes.log_p[:, None]], 1)
    return LogBilinear(context.half(), head.half(), maps.to(codes.a.device))


@torch.no_grad()
def fit_maps(start: LogBilinear, blocks: Tensor, *, steps: int = 5) -> LogBilinear:
    """The maps that make token blocks (N, T + 1) likeliest, after at most `steps` steps.

    A step costs what a pass of the head over the blocks costs, and its transpose's.
    """
    targets = blocks[:, 1:].flatten()
    features = start.features(blocks[:, :-1]).flatten(0, 1)
    n, codes = len(features), start.head[:, :-1].float()
    head = _filled(start.head, features.device)
    basis = torch.linalg.eigh((features.T @ features).double())[1].float()
    turned = features @ basis
    squares = turned.square()
    share = torch.bincount(targets, minlength=len(codes)).float() / n
    mean = share @ codes
    spread = codes.T @ (codes * share[:, None]) - torch.outer(mean, mean)
    side = torch.linalg.eigh(spread.double())[1].float()
    maps, damping = start.maps, _DAMPING
    loss, residual = missed_codes(features @ maps, head, targets)
    for _ in range(steps):
        moved = residual @ side
        curvature = squares.T @ moved.square() / n
        step = turned.T @ moved / n
        for _ in range(_TRIES):
            change = basis @ (step / (curvature + damping * curvature.mean())) @ side.T
            new_loss, new_residual = missed_codes(features @ (maps + change), head, targets)
            if new_loss < loss:
                break
            damping *= _MORE
        else:
            break
        maps, loss, residual = maps + change, new_loss, new_residual
        damping *= _LESS
    return replace(start, maps=maps)


def missed_codes(rows: Tensor, head: Tensor, targets: Tensor) -> tuple[float, Tensor]:
    """Mean loss of the targets (n,) in nats, and by how much their codes differ from what `rows` (n, r) expect: (n, r)
    float32.

    `head` (V, r + 1), codes and biases, is float32 or comes from `_filled`.
    """
    loss, code = _expected(_with_one(rows), head, targets)
    return float(loss.double().mean()), (head[targets].float() - code)[:, :-1]


def _expected(
    rows: Tensor, head: Tensor, targets: Tensor, *, codes: bool = True
) -> tuple[Tensor, Tensor]:
    """Losses of the targets (n,) and the codes (n, r + 1) that `rows` (n, r + 1) expect, float32; without `codes` those may
    be empty.

    The expected code is what attention over the vocabulary reads, with the head as keys and as values; on a GPU its kernel
    keeps no logits, which would be most of the work.
    """
    rows = rows.to(head.dtype)
    at_target = (rows.float() * head[targets].float()).sum(1)
    if head.dtype == torch.float16 and head.shape[1] % _EVEN == 0:
        q, k = rows[None, None], head[None, None]
        found = torch.ops.aten._scaled_dot_product_flash_attention(q, k, k, scale=1.0)
        return found[1][0, 0] - at_target, found[0][0, 0].float()
    parts = []
    for part in torch.split(rows, _ROWS):
        logits = (part @ head.T).float()
        normaliser = torch.logsumexp(logits, 1, keepdim=True)
        code = (logits - normaliser).exp_() @ head.float() if codes else logits[:, :0]
        parts.append((normaliser[:, 0], code))
    normaliser, code = (torch.cat(own) for own in zip(*parts, strict=True))
    return normaliser - at_target, code


def _filled(head: Tensor, device: torch.device) -> Tensor:
    """Half precision on a GPU whose matrix units add up in float32; tokens that are not there are impossible."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < _FLASH:
        return head.float()
    out = F.pad(head, (0, 0, 0, -len(head) % _COLUMNS))
    out[len(head) :, -1] = torch.finfo(torch.float16).min / 2
    return out


def _n_features(rank: int) -> int:
    return (LAGS + len(DECAYS)) * rank + 1


def _with_one(rows: Tensor) -> Tensor:
    return torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
