"""AdamW training of GPT-2 with as few joules as we know how: no host work in the loop, little
memory traffic.

At d = 128 a step is bound by memory traffic and launches, not by arithmetic. So tokens, data order
and learning rates lie on the device, and a step finds its own through a counter there; the
optimizer is the fused one; `torch.compile` fuses the passes over the (tokens, vocabulary) logits;
and several whole steps are replayed as one CUDA graph."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.baselines.adamw.batches import block_starts, scoring_blocks
from clso.baselines.adamw.graph import StepGraphs
from clso.baselines.adamw.loss import Loss, compiled_loss, summed_loss
from clso.baselines.adamw.settings import AdamWSettings, learning_rates
from clso.device import matmul_precision
from clso.errors import ConfigError
from clso.models.gpt2 import GPT2, GPT2Config, LanguageModel, text_loss

__all__ = ["Fit", "Trainer"]

_WARM_UP_STEPS = 3
# in one batch; in bf16 the larger is half a gigabyte
_SCORING_LOGITS = {
    "cuda": 1 << 28,
    "cpu": 1 << 22,
}
_SCORING_BLOCKS = 256
_SCRATCH_LR = 1e-3


@dataclass(frozen=True)
class Fit:
    """What one training run did. `valid_loss` is the quick scoring's, None if nothing was
    scored."""

    steps: int
    best_step: int
    valid_loss: float | None = None
    curve: tuple[tuple[int, float], ...] = ()


class Trainer:
    """Trains one model size again and again, without compiling again.

        trainer = Trainer(config, settings, "cuda:0")
        trainer.compile(train, valid)       # not to be measured
        trainer.reset(seed, lr)             # from here on all is work: uploads, weights, data order
        trainer.train(settings.steps)       # or trainer.fit(), which may stop early
        trainer.quick_score()

    Attributes:
        model: the weights being trained (float32).
        precision: fp32, tf32 or bf16.
        kernels: "compiled" or "eager"; `kernels_reason` says why it is not what was asked for.
        graph: whether steps are replayed as CUDA graphs.
        steps_done: since the last reset.
        n_valid_tokens: targets that a scoring covers.

    Raises `ConfigError` for TF32 without a CUDA device.
    """

    def __init__(self, config: GPT2Config, settings: AdamWSettings, device: str) -> None:
        self.config, self.settings, self.device = config, settings, torch.device(device)
        self._cuda = self.device.type == "cuda"
        self.precision = _precision(settings.precision, self.device)
        self.graph = settings.graph and self._cuda
        self.kernels, self.kernels_reason = (
            "eager",
            None if self._cuda else "there is no CUDA device",
        )
        self.steps_done = 0
        with self.device:
            self.model = GPT2(config)
        self.model.requires_grad_(True).train()
        self._lr = torch.zeros(1, device=self.device)
        self._optimizer = _optimizer(self.model, settings, self._lr, capturable=self.graph)
        self._summed_loss: Loss = summed_loss
        self._multiple = settings.pad_to if self._cuda and self.precision != "fp32" else 1
        self._graphs: StepGraphs | None = None
        self._kept: list[Tensor] = []

    def compile(
        self,
        train: np.ndarray[Any, Any],
        valid: np.ndarray[Any, Any],
        valid_tokens: int | None = None,
    ) -> None:
        """Make buffers for these texts, compile, and capture; the weights are scratch until
        `reset`.

        `train` and `valid` are token ids (n,) in host memory; about `valid_tokens` of valid, spread
        evenly, are scored (None: all). Raises `DataError` for a text shorter than a block, and
        `ConfigError` if `kernels` is "compiled" and torch.compile fails."""
        s, t = self.settings, self.config.n_positions
        most = _SCORING_LOGITS[self.device.type] // (self.config.vocab_size * t)
        n_blocks = None if valid_tokens is None else max(1, valid_tokens // t)
        valid_blocks, self.n_valid_tokens = scoring_blocks(
            valid, t, min(max(1, most), _SCORING_BLOCKS), n_blocks
        )
        self._host = [
            self._pinned(torch.from_numpy(train.astype(np.int32))),
            self._pinned(valid_blocks),
        ]
        self._tokens, self._valid = (
            torch.zeros_like(x, device=self.device, dtype=torch.int64) for x in self._host
        )
        self._starts = torch.zeros(s.steps, s.batch, dtype=torch.int64, device=self.device)
        self._offsets = torch.arange(t + 1, device=self.device)
        self._rates = torch.zeros(s.steps, device=self.device)
        self._losses = torch.zeros(s.steps, device=self.device)
        self._counter = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._kept = [torch.empty_like(p) for p in self.model.parameters()] if s.eval_every else []
        self._graphs = None
        if self._cuda:
            self._warm_up_and_capture()
        else:
            self._choose_kernels()

    def reset(self, seed: int, lr: float | None = None, plan: AdamWSettings | None = None) -> None:
        """Start anew, in place: upload the texts, draw weights and order from `seed`, forget the
        moments.

        `lr` is by default the first of the settings; `plan` gives another schedule than theirs, of
        no more steps. The data order is the same on every device; the weights are drawn on the
        device, so a CPU and a GPU start from different ones."""
        s = self.settings
        for buffer, host in zip((self._tokens, self._valid), self._host, strict=True):
            buffer.copy_(host.to(self.device, non_blocking=True))
        self.model.init_weights(torch.Generator(device=self.device).manual_seed(seed))
        for state in self._optimizer.state.values():
            for value in state.values():
                value.zero_()
        plan = plan or s
        n_positions = self.config.n_positions
        order = block_starts(self._tokens.shape[0], n_positions, plan.steps, s.batch, seed)
        self._starts[: plan.steps].copy_(order)
        self._rates.zero_()
        self._rates[: plan.steps].copy_(learning_rates(plan, plan.lr[0] if lr is None else lr))
        self._losses.zero_()
        self._counter.zero_()
        self.steps_done = 0

    def train(self, n_steps: int) -> None:
        """Run `n_steps` more; on CUDA they are only queued. Raises `ValueError` beyond
        `settings.steps`."""
        if self.steps_done + n_steps > self.settings.steps:
            raise ValueError(
                f"{self.steps_done} + {n_steps} steps, but only {self.settings.steps} are scheduled"
            )
        if self._graphs is not None:
            self._graphs.run(n_steps)
        else:
            with self._matmul_precision():
                for _ in range(n_steps):
                    self._step()
        self.steps_done += n_steps

    def fit(self) -> Fit:
        """Train all steps, or with `eval_every` until valid stops improving, keeping the best
        weights."""
        s = self.settings
        if not s.eval_every:
            self.train(s.steps)
            return Fit(s.steps, s.steps)
        best, best_step, since_best = math.inf, 0, 0
        curve: list[tuple[int, float]] = []
        while self.steps_done < s.steps:
            self.train(min(s.eval_every, s.steps - self.steps_done))
            loss = self.quick_score()
            curve.append((self.steps_done, loss))
            if loss < best:
                best, best_step, since_best = loss, self.steps_done, 0
                self._copy_weights(self.model.parameters(), self._kept)
            else:
                since_best += 1
            if not math.isfinite(loss) or since_best == s.stop_after > 0:
                break
        if best_step:
            self._copy_weights(self._kept, self.model.parameters())
        return Fit(self.steps_done, best_step, best if best_step else math.nan, tuple(curve))

    @torch.no_grad()
    def quick_score(self) -> float:
        """Mean loss on the scored part of valid, nats per token, at the training precision; waits
        for the device."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        with self._matmul_precision(), self._autocast():
            for blocks in self._valid:
                total += self._summed_loss(self.model, blocks, self._multiple)
        return total.item() / self.n_valid_tokens

    def score(self, model: LanguageModel | None = None) -> float:
        """The same tokens in float32, by `text_loss`; of another model than the trained one, too."""
        blocks = self._valid.flatten(0, 1)[: self.n_valid_tokens // self.config.n_positions]
        return text_loss(model or self.model, blocks)

    def describe(self) -> dict[str, Any]:
        """How it trains, as JSON types."""
        return {
            "precision": self.precision,
            "graph": self.graph,
            "kernels": self.kernels,
            "kernels_reason": self.kernels_reason,
            "torch": torch.__version__,
        }

    def train_losses(self) -> Tensor:
        """The loss of each step so far on its own batch, (steps_done,) float32 on the CPU."""
        return self._losses[: self.steps_done].cpu()

    def _step(self) -> None:
        """One whole step. Reads and writes only tensors that stay in place, so that it can be
        captured."""
        now = self._counter
        torch.index_select(self._rates, 0, now, out=self._lr)
        starts = self._starts.index_select(0, now)[0]
        blocks = self._tokens[starts[:, None] + self._offsets]
        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = self._summed_loss(self.model, blocks, self._multiple) / blocks[:, 1:].numel()
        torch.autograd.backward(loss)
        if self.settings.grad_clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)
        self._optimizer.step()
        self._losses.index_copy_(0, now, loss.detach()[None])
        now.add_(1)

    def _choose_kernels(self) -> None:
        """Compile the loss if asked to; it is kept only if it runs and trains like the eager
        one."""
        wanted = self.settings.kernels
        if wanted == "eager" or (wanted == "auto" and not self._cuda):
            return
        eager = self._scratch_score()
        try:
            self._summed_loss = compiled_loss()
            compiled = self._scratch_score()
            if not math.isclose(eager, compiled, rel_tol=2e-3):
                raise RuntimeError(
                    f"compiled kernels give a loss of {compiled:.4f}, eager ones {eager:.4f}"
                )
        except Exception as error:  # a compiler that is missing or broken can fail in any way
            if wanted == "compiled":
                raise ConfigError(
                    "torch.compile works on this machine",
                    got=_first_line(error),
                    remedy="Use kernels = auto or eager.",
                ) from error
            self._summed_loss, self.kernels_reason = summed_loss, _first_line(error)
            return
        self.kernels, self.kernels_reason = "compiled", None

    def _warm_up_and_capture(self) -> None:
        """Load kernels, make the optimizer state and capture, all on one stream, on scratch
        weights."""
        with torch.cuda.device(self.device), self._matmul_precision():
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self._choose_kernels()
                self._scratch_score()
            torch.cuda.current_stream().wait_stream(stream)
            if self.graph:
                self._optimizer.zero_grad(set_to_none=True)
                self._graphs = StepGraphs(self._step, stream, self.settings.steps)
                for size in self._graphs.sizes:  # the first replay uploads a graph to the device
                    self._counter.zero_()
                    self._graphs.run(size)
            torch.cuda.synchronize()

    def _scratch_score(self) -> float:
        """The loss after a few uncaptured steps from a fixed start, all of which is thrown away."""
        self.reset(0, _SCRATCH_LR)
        with warnings.catch_warnings(), self._matmul_precision():
            # the capture comes later
            warnings.filterwarnings("ignore", message=".*capturable=True.*")
            for _ in range(min(_WARM_UP_STEPS, self.settings.steps)):
                self._step()
        return self.quick_score()

    @torch.no_grad()
    def _copy_weights(self, source: Iterable[Tensor], target: Iterable[Tensor]) -> None:
        for a, b in zip(source, target, strict=True):
            b.copy_(a)

    def _autocast(self) -> torch.autocast:
        # A cache of cast weights that outlived a captured step would freeze the weights of the
        # capture.
        return torch.autocast(
            self.device.type,
            dtype=torch.bfloat16,
            enabled=self.precision == "bf16",
            cache_enabled=False,
        )

    def _matmul_precision(self) -> AbstractContextManager[None]:
        """TF32 products inside, if that is the precision."""
        return matmul_precision("high" if self.precision == "tf32" else "highest")

    def _pinned(self, x: Tensor) -> Tensor:
        return x.pin_memory() if self._cuda else x


def _optimizer(
    model: GPT2, settings: AdamWSettings, lr: Tensor, *, capturable: bool
) -> torch.optim.AdamW:
    """Fused AdamW whose rate is the tensor `lr`; only matrices decay."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": matrices, "lr": lr, "weight_decay": settings.weight_decay},
        {"params": vectors, "lr": lr, "weight_decay": 0.0},
    ]
    betas = (settings.betas[0], settings.betas[1])
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True, capturable=capturable)


def _precision(name: str, device: torch.device) -> str:
    if device.type == "cuda":
        has_bf16 = torch.cuda.get_device_capability(device) >= (8, 0)
        return name if name != "auto" else "bf16" if has_bf16 else "fp32"
    if name == "tf32":
        raise ConfigError(
            "tf32 needs a CUDA device", got=str(device), remedy="Use precision = auto."
        )
    return name if name != "auto" else "fp32"


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"
