"""A batch of documents as it meets a model: padded, sorted and padded, or packed.

`padded` fills every document up to one length; `sorted` has documents of like lengths in a micro-batch and fills up to the
longest of them, which is what people do; `packed` has nothing but the documents. The loss is the mean over their tokens:
slots that are filled up cost what a token costs, and count nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.profiling.layout_names import Layout
from clso.profiling.subject import MicroBatch, Subject

__all__ = ["MixSubject", "slots_of"]

_IGNORED = -100  # as a target


@dataclass(frozen=True)
class _Part:
    """A micro-batch: tokens and targets in slots (documents, length), or (N,) with `offsets`."""

    tokens: Tensor
    targets: Tensor
    offsets: Tensor | None = None


@dataclass(frozen=True)
class MixSubject(Subject):
    """A model on one layout of a batch. `tokens` and `targets` are the first part's."""

    parts: Sequence[_Part] = ()
    n_tokens: int = 0

    @classmethod
    def of(
        cls,
        model: nn.Module,
        lengths: Sequence[int],
        layout: Layout,
        *,
        micro: int,
        pad_to: int,
        vocab_size: int,
        seed: int,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> MixSubject:
        """Uniform tokens from `seed`, the same whatever the layout, on the model's device, in `micro` parts."""
        device = next(model.parameters()).device
        generator = torch.Generator().manual_seed(seed)
        documents = [torch.randint(vocab_size, (n + 1,), generator=generator) for n in lengths]
        parts = []
        for group in _groups([len(d) - 1 for d in documents], layout, micro):
            chosen = [documents[i] for i in group]
            parts.append(
                _packed(chosen, device)
                if layout == "packed"
                else _slots(chosen, layout, pad_to, device)
            )
        first = parts[0]
        return cls(
            model,
            first.tokens,
            first.targets,
            parts=parts,
            n_tokens=sum(lengths),
            optimizer=optimizer,
        )

    @property
    def n_slots(self) -> int:
        return sum(part.tokens.numel() for part in self.parts)

    def micro_batches(self) -> Sequence[MicroBatch]:
        return [partial(self._loss, part) for part in self.parts]

    def stated_flops(self) -> int | None:
        model = self.model
        if not hasattr(model, "forward_flops"):
            return None
        total = 0
        for part in self.parts:
            if part.offsets is None:
                total += len(part.tokens) * int(model.forward_flops(part.tokens.shape[1]))  # type: ignore[operator]
            else:
                total += int(model.packed_flops(part.tokens, part.offsets))  # type: ignore[operator]
        return total

    def held(self) -> list[Tensor]:
        tensors = [tensor for part in self.parts for tensor in (part.tokens, part.targets)]
        return [*self.model.parameters(), *self.model.buffers(), *tensors]

    def _loss(self, part: _Part) -> Tensor:
        if part.offsets is None:
            logits: Tensor = self.model(part.tokens).flatten(0, 1)
        else:
            logits = self.model.packed(part.tokens, part.offsets)  # type: ignore[operator]
        total = F.cross_entropy(
            logits, part.targets.flatten(), ignore_index=_IGNORED, reduction="sum"
        )
        return total / self.n_tokens


def slots_of(lengths: Sequence[int], layout: Layout, micro: int, pad_to: int) -> list[int]:
    """Token slots that a layout computes for each document, in the order in which they are computed."""
    if layout == "padded":
        return [pad_to] * len(lengths)
    groups = [[lengths[i] for i in group] for group in _groups(lengths, layout, micro)]
    return [max(group) if layout == "sorted" else n for group in groups for n in group]


def _groups(lengths: Sequence[int], layout: Layout, micro: int) -> list[list[int]]:
    """Which documents each of `micro` micro-batches holds."""
    order = list(range(len(lengths)))
    if layout == "sorted":
        order.sort(key=lengths.__getitem__)
    bounds = [len(order) * i // micro for i in range(micro + 1)]
    return [order[a:b] for a, b in pairwise(bounds)]


def _packed(documents: Sequence[Tensor], device: torch.device) -> _Part:
    tokens, targets = (
        torch.cat([d[i : len(d) - 1 + i] for d in documents]).to(device) for i in (0, 1)
    )
    return _Part(tokens, targets, torch.tensor([0, *accumulate(len(d) - 1 for d in documents)]))


def _slots(documents: Sequence[Tensor], layout: Layout, pad_to: int, device: torch.device) -> _Part:
    length = pad_to if layout == "padded" else max(len(d) - 1 for d in documents)
    tokens = torch.zeros(len(documents), length, dtype=torch.long)
    targets = torch.full((len(documents), length), _IGNORED)
    for i, document in enumerate(documents):
        tokens[i, : len(document) - 1], targets[i, : len(document) - 1] = (
            document[:-1],
            document[1:],
        )
    return _Part(tokens.to(device), targets.to(device))
