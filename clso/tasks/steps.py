"""Training steps. On CUDA those of a model that is `capturable` are replayed as graphs: a small model's step is hundreds
of short kernels, and launching them one by one takes the host longer than they run."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.device import captured
from clso.tasks.scoring import Batch, answers

__all__ = ["Steps"]

_NOTHING = -100  # no class


class Steps:
    """AdamW on the mean loss of what is asked in a batch; only matrices decay.

    Attributes:
        replayed: whether steps are, which is worth it for batches of few shapes.
    """

    def __init__(
        self, model: nn.Module, device: str, *, weight_decay: float, grad_clip: float
    ) -> None:
        """`grad_clip` is the largest norm of the gradient, 0 for any."""
        self._model, self._grad_clip = model, grad_clip
        self._parameters = list(model.parameters())
        groups = [
            {"params": [p for p in self._parameters if p.dim() >= 2], "weight_decay": weight_decay},
            {"params": [p for p in self._parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        self.replayed = device.startswith("cuda") and bool(getattr(model, "capturable", False))
        # a graph's rate is on the device, too
        self._rate = torch.zeros((), device=device) if self.replayed else None
        self._optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=0.0 if self._rate is None else self._rate,
            fused=all(p.is_cuda for p in self._parameters),  # where launches are dear
            capturable=self.replayed,
        )
        self._step: Callable[[Batch], Tensor] = self._launched
        if self.replayed:
            self._step = _Replays(self._launched, torch.device(device))

    def __call__(self, batch: Batch, lr: float) -> Tensor:
        """The loss (), for which the host does not wait, before one step at a rate."""
        if self._rate is not None:
            self._rate.fill_(lr)
        else:
            for group in self._optimizer.param_groups:
                group["lr"] = lr
        return self._step(batch)

    def _launched(self, batch: Batch) -> Tensor:
        logits, targets = answers(self._model, batch)
        # a target 0 is a class, or of a token that is not asked for
        ignored = _NOTHING if batch.targets.dim() == 1 else 0
        loss = F.cross_entropy(logits.float(), targets, ignore_index=ignored)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self._grad_clip:
            nn.utils.clip_grad_norm_(self._parameters, self._grad_clip)
        self._optimizer.step()
        return loss.detach()


class _Replays:
    """`step(batch)`, replayed for batches of a shape that was there before.

    `step` waits for nothing on the host, does the same at each call, and writes only to tensors
    that stay where they are or are made anew in it."""

    def __init__(self, step: Callable[[Batch], Tensor], device: torch.device) -> None:
        self._step, self._device = step, device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._seen: set[torch.Size] = set()
        self._graphs: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Batch, Tensor]] = {}

    def __call__(self, batch: Batch) -> Tensor:
        shape = batch.tokens.shape
        now = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(now)
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            if shape not in self._seen:  # kernels are loaded, the optimizer's state is made
                self._seen.add(shape)
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message=".*capturable=True.*")
                    loss = self._step(batch)
            else:
                if shape not in self._graphs:
                    self._graphs[shape] = self._captured(batch)
                graph, inputs, out = self._graphs[shape]
                inputs.tokens.copy_(batch.tokens)
                inputs.mask.copy_(batch.mask)
                inputs.targets.copy_(batch.targets)
                graph.replay()
                loss = out.clone()  # the next replay writes there again
        now.wait_stream(self._stream)
        return loss

    def _captured(self, like: Batch) -> tuple[torch.cuda.CUDAGraph, Batch, Tensor]:
        """A graph, its input and its output. Nothing else outlives a replay: graphs share one pool."""
        inputs = Batch(like.tokens.clone(), like.mask.clone(), like.targets.clone(), None)
        pool = next((other.pool() for other, *_ in self._graphs.values()), None)
        with captured(pool) as graph:
            out = self._step(inputs)
        return graph, inputs, out
