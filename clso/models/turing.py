"""Neural Turing memory (Graves et al. 2014, arXiv 1410.5401): content addressing, erase and add, in
chunks of tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.models import native, native_turing
from clso.models.fused import difference, is_possible, is_trusted, with_gradients
from clso.models.layers import Layer, pad_to_multiple
from clso.models.scan import in_segments

__all__ = ["TuringMemory"]

_LEAST_LENGTH = 1e-12  # of a vector that has a direction
_SEGMENT_CHUNKS = 16  # chunks whose expanded writes are held at once


class TuringMemory(Layer):
    """One read head and one write head on `n_slots` vectors of width d_model; linear time, constant
    state.

    Addresses are softmax(strength * cosine(key, slot)) (equation 5). Those of a chunk are taken
    from the memory as it stood when the chunk began, and its tokens read that memory, so that a
    chunk is a handful of matrix products; its writes, erase then add (equations 3 and 4), are
    applied token by token in order. With chunk 1 this is the recurrence of the paper, reading
    before writing. Location-based addressing is left out."""

    def __init__(self, d_model: int, n_slots: int, chunk: int) -> None:
        super().__init__()
        self.d_model, self.n_slots, self.chunk = d_model, n_slots, chunk
        self.initial = nn.Parameter(torch.zeros(n_slots, d_model))
        # read key, write key, erase, add, two strengths
        self.heads = nn.Linear(d_model, 4 * d_model + 2)
        self.out = nn.Linear(2 * d_model, d_model)

    def init_own(self, generator: torch.Generator) -> None:
        self.initial.normal_(generator=generator)  # slots that differ, or they would stay equal

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)[0]

    def run(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs (B, T, d), and the read and write addresses (B, T, n_slots)."""
        n_tokens = x.shape[1]
        found = self._form(x)(self.heads(pad_to_multiple(x, self.chunk)), self.initial)
        if n_tokens % self.chunk:
            found = tuple(part[:, :n_tokens] for part in found)
        read, reading, writing = found
        return self.out(torch.cat((x, read), dim=-1)), reading, writing

    def _form(self, x: Tensor) -> Callable[[Tensor, Tensor], tuple[Tensor, ...]]:
        """How chunks are gone through, given what the heads say (B, T, 4 d + 2) and the memory at
        first (n_slots, d): in plain torch, in C, or by CUDA's kernels."""
        if native.is_possible(x):
            if is_trusted("Turing memory in C", x.device, _difference):
                return self._in_c
        elif is_possible(x):
            from clso.models import cuda_turing

            sizes = self.d_model, self.n_slots, self.chunk
            if cuda_turing.fits(*sizes) and is_trusted(
                "Turing memory", (x.device, sizes), lambda: _fused_difference(x.device, *sizes)
            ):
                return self._fused
        return self._in_torch

    def _in_torch(self, heads: Tensor, initial: Tensor) -> tuple[Tensor, ...]:
        """What is read (B, T, d), and the read and write addresses (B, T, n_slots)."""
        memory, inputs = initial.expand(len(heads), -1, -1), self._commands(heads)
        _, found = in_segments(self._segment, memory, inputs, _SEGMENT_CHUNKS * self.chunk)
        return torch.split(found, [self.d_model, self.n_slots, self.n_slots], dim=-1)

    def _in_c(self, heads: Tensor, initial: Tensor) -> tuple[Tensor, ...]:
        """As `_in_torch`."""
        keys, erase, add = map(self._by_chunk, self._commands(heads))
        memory = initial.expand(len(heads), -1, -1)
        read, address = native_turing.read_and_write(keys.transpose(2, 3), erase, add, memory)
        return read.flatten(1, 2), *(one.flatten(1, 2) for one in address.unbind(2))

    def _fused(self, heads: Tensor, initial: Tensor) -> tuple[Tensor, ...]:
        """As `_in_torch`."""
        from clso.models import cuda_turing

        return cuda_turing.read_and_write(heads, initial, self.chunk)

    def _commands(self, heads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keys (B, T, 2, d) to read and to write by, of unit length times strength; what is erased,
        what is added (B, T, d)."""
        d = self.d_model
        keys, erase, add, strengths = torch.split(heads, [2 * d, d, d, 2], dim=-1)
        keys = _unit(keys.reshape(*keys.shape[:2], 2, d)) * (1 + F.softplus(strengths))[..., None]
        return keys, erase.sigmoid(), add

    def _by_chunk(self, x: Tensor) -> Tensor:
        """(B, T, ...) -> (B, chunks, c, ...)."""
        return x.reshape(len(x), -1, self.chunk, *x.shape[2:])

    def _segment(
        self, memory: Tensor, keys: Tensor, erase: Tensor, add: Tensor
    ) -> tuple[Tensor, Tensor]:
        c, n_batch = self.chunk, len(memory)
        # (B, chunks, 2 c, d): a chunk's read keys, then its write keys
        keys = self._by_chunk(keys).transpose(2, 3).flatten(2, 3)
        erase, add = (self._by_chunk(x)[..., None, :] for x in (erase, add))
        reads, addresses = [], []
        for key, erased, added in zip(keys.unbind(1), erase.unbind(1), add.unbind(1), strict=True):
            address = torch.softmax(torch.bmm(key, _unit(memory).transpose(1, 2)), dim=-1)
            reading, writing = torch.split(address, c, dim=1)
            reads.append(torch.bmm(reading, memory))
            addresses.append(address)
            memory = _written(memory, writing[..., None], erased, added)
        by_token = (
            torch.stack(addresses, 1)
            .view(n_batch, -1, 2, c, self.n_slots)
            .transpose(2, 3)
            .flatten(1, 2)
            .flatten(2)
        )
        return memory, torch.cat((torch.cat(reads, dim=1), by_token), dim=-1)

    def flops(self, n_tokens: int) -> int:
        padded = n_tokens + -n_tokens % self.chunk
        d = self.d_model
        return 2 * padded * d * (4 * d + 2 + 3 * self.n_slots) + 4 * d * d * n_tokens


def _unit(x: Tensor) -> Tensor:
    """Vectors (..., d) of length one, in their direction; nothing stays nothing."""
    d = x.shape[-1]
    return F.rms_norm(x, (d,), eps=_LEAST_LENGTH**2 / d) * float(d**-0.5)


def _written(memory: Tensor, address: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """M <- M (1 - w e) + w a for each token in turn, closed: memory (B, N, W), the others broadcast
    to (B, c, N, W)."""
    kept = torch.log1p(-(address * erase).clamp_max(1 - 1e-6))
    total = kept.sum(1)
    # what later tokens leave of each token's addition
    until_end = torch.exp(total[:, None] - kept.cumsum(1))
    return memory * total.exp() + (until_end * address * add).sum(1)


def _difference() -> float:
    """Between C and plain torch: of results and all gradients."""
    layer, inputs = TuringMemory(6, 5, 4), _drawn(2, 12, 6, 5, torch.device("cpu"))
    return difference(*(with_gradients(go, inputs) for go in (layer._in_c, layer._in_torch)))


def _fused_difference(device: torch.device, d_model: int, n_slots: int, chunk: int) -> float:
    """Between CUDA's kernels and plain torch: of results and all gradients."""
    layer = TuringMemory(d_model, n_slots, chunk)
    inputs = _drawn(2, 3 * chunk, d_model, n_slots, device)
    return difference(*(with_gradients(go, inputs) for go in (layer._fused, layer._in_torch)))


def _drawn(n_batch: int, n_tokens: int, d: int, n_slots: int, device: torch.device) -> list[Tensor]:
    """What heads say, and a memory."""
    generator = torch.Generator().manual_seed(0)
    shapes = (n_batch, n_tokens, 4 * d + 2), (n_slots, d)
    return [torch.randn(shape, generator=generator).to(device) for shape in shapes]
