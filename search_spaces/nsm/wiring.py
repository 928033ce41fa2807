"""A grown NSM's wiring: where codes lie in its residual stream, and the weights of one state mixer.

The stream is S times a logical vector: `one` (what LayerNorm removes) | ballast | code K, and two
planes in which the model's own sinusoids are left alone, so that heads can tell distances. S is so
large that sinusoids are nothing to the code. States are leaky averages: a state s takes in 1 -
lambda_s of the mean code that a chunk sent to it, times a factor so small that the gate's tanh is
straight; a few dimensions hold a state's name, which its gate, its key and its forgetting go by.

Letters of shapes: V tokens, d residual dimensions, H heads, h = d / H, K dimensions of the code, S
states."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from clso.crystals import CrystalLibrary
from clso.errors import ConfigError
from clso.grown.als import hash_noise
from clso.models.gpt2 import GPT2Config
from clso.models.layers import ResidualBlock
from clso.models.nsm import NSMConfig, SimpleNSM
from clso.models.nsm_mixer import GateKind, StateMixer
from clso.search_spaces.nsm.genes import CHUNKS, Head, LayerPicks, Shape

__all__ = ["NORM", "SCALE", "Wiring", "plain_mixer", "plain_nsm"]

ModuleT = TypeVar("ModuleT", bound=torch.nn.Module)

# of a logical vector: codes are small against it, so what is added later hardly changes the norm
NORM = 100.0
SCALE = 1000.0  # of the stream
# A head's first dimensions hold position codes in two planes, the next one a constant (the score
# that states have), the rest content.
_N_POSITION = 4
_CONSTANT = 4
_CONTENT = 5
# of an LSTM's four gates or a GRU's three
_INPUT, _FORGET, _NEW, _OUTPUT = 0, 1, 2, 3
_FAST_TURN = 16.0  # positions a turn of the fast plane, about
_PEAK = 12.0  # logits between a wanted lag and its best rival
_PHASE = math.pi / 3  # of a decaying pattern: the slow plane falls over two thirds of half a turn
_FAR = 60.0  # logits that shut out
_SMALL = 0.02  # of what a state takes in
_BALLAST, _NAME = 3.0, 0.2  # of a state, before an LSTM's tanh
_SHARPNESS = 1.5  # standard deviation of routing scores
_ECHO = 0.5  # of what is heard, next to what is sent
_OPEN = 30.0  # an argument of the sigmoid that means one


class Wiring:
    """For one model size; on the CPU."""

    def __init__(self, config: GPT2Config, library: CrystalLibrary) -> None:
        self.config, self._library, d = config, library, config.d_model
        self._heard = lru_cache(None)(self._hearing)
        self.code = d - 2 - _N_POSITION
        if d < 32 or d % 2:
            raise ConfigError("a grown NSM has an even number of dimensions, 32 at least", got=d)
        window = 2 * max(CHUNKS)
        slow = self._pair((math.pi - _PHASE) / window)
        fast = min(self._pair(2 * math.pi / _FAST_TURN), slow - 1)
        self._speeds = tuple(10_000.0 ** (-2 * i / d) for i in (slow, fast))
        # Both planes (4, d): differences with the last sine, which is about 0, so that LayerNorm's
        # mean does not show in them.
        planes = torch.zeros(_N_POSITION, d, dtype=torch.float64)
        for row, at in enumerate((2 * slow, 2 * slow + 1, 2 * fast, 2 * fast + 1)):
            planes[row, at], planes[row, d - 2] = 1, -1
        self._positions = planes.float()
        # An orthonormal basis (d, d): one | planes 4 | ballast | code K.
        rest = hash_noise(d, self.code + 1, torch.device("cpu"), seed=3).double()
        columns = torch.cat((torch.ones(d, 1), planes.T, rest), dim=1)
        basis = torch.linalg.qr(columns)[0].float()
        self._ballast = basis[:, 1 + _N_POSITION]  # (d,)
        self.axes = basis[:, 2 + _N_POSITION :]  # (d, K)

    def _pair(self, speed: float) -> int:
        """The fastest of the model's sinusoids that turns no faster than `speed` a position."""
        d = self.config.d_model
        return min(max(1, math.ceil(-math.log(speed) / math.log(10_000.0) * d / 2)), d // 2 - 2)

    def embedding(self, code: Tensor) -> Tensor:
        """Rows (V, d_model) of an embedding that holds codes (V, K)."""
        ballast = (NORM**2 - code.square().sum(1, keepdim=True)).clamp(min=1).sqrt()
        out: Tensor = SCALE * (code @ self.axes.T + ballast * self._ballast)
        return out

    def head(self, b: Tensor, log_p: Tensor) -> Tensor:
        """The head (V, d_model) whose logits are code . b + log_p, behind a norm with bias one."""
        out: Tensor = b @ self.axes.T + log_p[:, None] / self.config.d_model
        return out

    @cached_property
    def norm_weight(self) -> Tensor:
        """What makes of LayerNorm a division by `SCALE`."""
        return torch.full((self.config.d_model,), NORM / math.sqrt(self.config.d_model))

    @torch.no_grad()
    def fill(self, mixer: StateMixer, shape: Shape, picks: LayerPicks, spread: Tensor) -> None:
        """Everything of `mixer` but its read-out `out`; codes have the covariance `spread` (K,
        K)."""
        for p in mixer.parameters():
            p.zero_()
        mixer.importance.fill_(1.0)
        self._fill_tokens(mixer, shape, picks, spread)
        self._fill_states(mixer, shape)
        self._fill_gate(mixer, shape, picks)

    def _fill_states(self, mixer: StateMixer, shape: Shape) -> None:
        """How states begin, and how they are found and read."""
        d, n_heads, n_states = self.config.d_model, shape.n_heads, shape.n_states
        held, names, ballast = _state_dims(d, n_heads, n_states)
        # A state begins with its name and its ballast (S, d); an LSTM has them in its cell, too.
        initial = torch.zeros(n_states, d)
        initial[torch.arange(n_states), names] = _NAME
        initial[:, ballast] = _BALLAST
        mixer.initial.copy_(
            torch.cat((initial.tanh(), initial), dim=1) if shape.gate == "lstm" else initial.tanh()
        )
        # Its norm leaves it as it is.
        shown = math.hypot(math.tanh(_BALLAST), math.tanh(_NAME))
        mixer.state_norm.weight.fill_(shown / math.sqrt(d))
        _, key, value = mixer.state_maps.weight.view(3, n_heads, d // n_heads, d)  # (H, h, d)
        key_bias = mixer.state_maps.bias.view(3, n_heads, d // n_heads)[1]  # (H, h)
        # A constant in the key: the score that every state has (`_look`).
        key_bias[:, _CONSTANT] = 1.0
        # Its name in the key as a label of unit length in each head (S, H, h - 5).
        width = d // n_heads - _CONTENT
        labels = hash_noise(n_states, n_heads * width, torch.device("cpu"), seed=4).view(
            n_states, n_heads, width
        )
        labels = labels / labels.norm(dim=2, keepdim=True)
        key[:, _CONTENT:, names] = labels.permute(1, 2, 0) / math.tanh(_NAME)
        # The messages that it keeps in the value, at their own size.
        value.reshape(d, d)[held, held] = 1 / _SMALL

    def _fill_tokens(
        self, mixer: StateMixer, shape: Shape, picks: LayerPicks, spread: Tensor
    ) -> None:
        """What a token asks for, where it sends its code, and what others find of it."""
        d, n_heads = self.config.d_model, shape.n_heads
        h = d // n_heads
        read, route, key, value = mixer.token_maps.weight.view(4, n_heads, h, d)  # (H, h, d)
        read_bias = mixer.token_maps.bias.view(4, n_heads, h)[0]  # (H, h)
        # A token is found by its position code (4).
        positions = SCALE * self._positions
        key[:, :_N_POSITION] = positions
        # sqrt(h) undoes attention's own scale.
        root = math.sqrt(h)
        for i in range(n_heads):
            # Ask for positions by the head's pattern (4), and for states by a constant.
            query, offset = self._look(picks.read[i % len(picks.read)], shape)
            read[i, :_N_POSITION] = root * query @ positions
            read_bias[i, _CONSTANT] = root * offset
        if picks.router:
            # A random map of codes to labels (H, h - 5, K) says which states a token writes to and
            # reads. Labels are unit vectors, so that `size` (H,) is about its scores' deviation.
            crystal = self._crystal(picks.router - 1)[:, : self.code].view(n_heads, h, self.code)[
                :, _CONTENT:
            ]
            size = torch.einsum("hik,kl,hil->h", crystal, spread, crystal).clamp(min=1e-12).sqrt()
            scaled = crystal * (_SHARPNESS * root * math.sqrt(h - _CONTENT) / size)[:, None, None]
            route[:, _CONTENT:] = scaled @ self.axes.T
            read[:, _CONTENT:] = scaled @ self.axes.T
        # Send the code's first dimensions, as many as a state keeps of a head's message.
        kept = min(_held_per_head(d, n_heads, shape.n_states), self.code)
        value[:, :kept] = self.axes[:, :kept].T

    def _look(self, head: Head, shape: Shape) -> tuple[Tensor, float]:
        """A query on position codes (4, 4), and the score of every state."""
        slow, fast = self._speeds
        if head.pattern == "lag":
            amps = _PEAK / (1 - math.cos(slow * 2 * math.pi / fast)), _PEAK / (1 - math.cos(fast))
            phases = -slow * head.size, -fast * head.size
        else:
            amps, phases = (1 / (head.size * slow * math.sin(_PHASE)), 0.0), (_PHASE, 0.0)
        query = torch.zeros(_N_POSITION, _N_POSITION)
        for at, (amp, phase) in enumerate(zip(amps, phases, strict=True)):
            cos, sin = amp * math.cos(phase), amp * math.sin(phase)
            # sin(a + phase) sin b + cos(a + phase) cos b, from the code (sin a, cos a)
            query[2 * at : 2 * at + 2, 2 * at : 2 * at + 2] = torch.tensor(
                [[cos, sin], [-sin, cos]]
            )
        distance = torch.arange(3 * shape.chunk // 2)
        waves = zip(amps, phases, self._speeds, strict=True)
        scores = torch.stack(
            [amp * torch.cos(speed * distance + phase) for amp, phase, speed in waves]
        ).sum(0)
        if head.states in (0, 1):
            return query, float(scores.max()) + (_FAR if head.states else -_FAR)
        share = math.log(head.states / (1 - head.states))
        return query, float(scores.logsumexp(0)) + share - math.log(shape.n_states)

    def _fill_gate(self, mixer: StateMixer, shape: Shape, picks: LayerPicks) -> None:
        """How a state takes in what it is told and hears, and how fast it forgets."""
        d, n_states = self.config.d_model, shape.n_states
        held, names, _ = _state_dims(d, shape.n_heads, n_states)
        cell, lstm = mixer.gate.cell, shape.gate == "lstm"
        # By gate: what it makes of message and heard (d, 2 d) and of the state (d, d); biases.
        taken, state, bias = (
            p.view(4 if lstm else 3, d, -1) for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih)
        )
        # Time constants (S,) as shares kept over a chunk, and as a sigmoid's argument.
        first, last = picks.leak
        constants = torch.linspace(math.log(first), math.log(last), n_states).exp()
        keep = torch.exp(-shape.chunk / constants)
        logit = (keep / (1 - keep)).log() / math.tanh(_NAME)
        frozen = torch.ones(d, dtype=torch.bool)
        frozen[held] = False
        # Forget and input gate, or a GRU's update gate, which stands where an LSTM forgets: names
        # and ballast stay for ever, messages by the state's name.
        for gate, sign in ((_FORGET, 1), (_INPUT, -1)) if lstm else ((_FORGET, 1),):
            bias[gate, frozen] = sign * _OPEN
            state[gate][held[:, None], names[None, :]] = sign * logit
        if lstm:
            bias[_OUTPUT] = _OPEN
        # Take the message in, made small.
        taken[_NEW][held, held] = _SMALL
        if picks.talk:
            # Take in what other states say through a random map of spectral norm 1 (d, d).
            heard = self._heard(picks.talk - 1)
            taken[_NEW][held[:, None], d + held[None, :]] = _SMALL * _ECHO * heard[held][:, held]

    def _hearing(self, index: int) -> Tensor:
        """A crystal of spectral norm 1."""
        crystal = self._crystal(index)
        out: Tensor = crystal / torch.linalg.matrix_norm(crystal, 2).clamp(min=1e-12)
        return out

    def _crystal(self, index: int) -> Tensor:
        d = self.config.d_model
        return self._library.dense((d, d), index)


def plain_nsm(config: NSMConfig) -> SimpleNSM:
    """A module with norms and importances one and all else zero; no global random stream is
    used."""
    model = _copy(_frame(replace(config, n_heads=1, n_states=1, gate="gru", top_k=0, chunk=1)))
    model.config = config
    for block in model.blocks:
        assert isinstance(block, ResidualBlock)
        block.mixer = plain_mixer(config)
    return model


def plain_mixer(config: NSMConfig) -> StateMixer:
    """A mixer of such a module."""
    c = config
    return _copy(_mixer(c.d_model, c.n_heads, c.n_states, c.gate, c.top_k, c.chunk))


def _copy(module: ModuleT) -> ModuleT:
    """A module with parameters of its own; `copy.deepcopy` takes ten times as long."""
    new = module.__new__(type(module))
    # hooks are in dictionaries, too: each module has its own
    new.__dict__.update(
        {k: type(v)(v) if isinstance(v, dict) else v for k, v in module.__dict__.items()}
    )
    for name, p in module._parameters.items():
        new._parameters[name] = None if p is None else torch.nn.Parameter(p.detach().clone())
    for name, b in module._buffers.items():
        new._buffers[name] = None if b is None else b.clone()
    for name, child in module._modules.items():
        new._modules[name] = None if child is None else _copy(child)
    return new


@lru_cache(maxsize=8)  # to make modules takes longer than to copy them
def _frame(config: NSMConfig) -> SimpleNSM:
    """All but the mixers."""
    with torch.device("meta"):  # where nothing is drawn
        model = SimpleNSM(config)
    for block in model.blocks:
        assert isinstance(block, ResidualBlock)
        block.mixer = None
    return _plain(model)


@lru_cache(maxsize=64)
@torch.no_grad()
def _mixer(
    d_model: int, n_heads: int, n_states: int, gate: GateKind, top_k: int, chunk: int
) -> StateMixer:
    with torch.device("meta"):
        mixer = StateMixer(d_model, n_heads, n_states, gate=gate, top_k=top_k, chunk=chunk)
    mixer = _plain(mixer)
    mixer.importance.fill_(1.0)
    return mixer


@torch.no_grad()
def _plain(module: ModuleT) -> ModuleT:
    """A module without numbers, with those of `plain_nsm`; ready to answer."""
    module.to_empty(device="cpu")
    for p in module.parameters():
        p.zero_()
    for part in module.modules():
        if isinstance(part, torch.nn.LayerNorm):
            part.weight.fill_(1.0)
    return module.eval()


def _held_per_head(d_model: int, n_heads: int, n_states: int) -> int:
    """Dimensions of a head's message that a state keeps; the rest is for its name and its
    ballast."""
    return d_model // n_heads - -(-(n_states + 1) // n_heads)


def _state_dims(d_model: int, n_heads: int, n_states: int) -> tuple[Tensor, Tensor, int]:
    """Dimensions of a state that hold messages, names (n_states,) and the ballast."""
    dims = torch.arange(d_model).view(n_heads, -1)
    n = _held_per_head(d_model, n_heads, n_states)
    rest = dims[:, n:].flatten()
    return dims[:, :n].flatten(), rest[:n_states], int(rest[n_states])
