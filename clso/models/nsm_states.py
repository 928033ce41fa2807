"""State management of a SimpleNSM: which states matter, dropping those that do not, adding new
ones."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.models.nsm import SimpleNSM
from clso.models.nsm_mixer import StateMixer

__all__ = ["allocate_states", "prune_states", "state_importance"]


def state_importance(model: SimpleNSM) -> Tensor:
    """Learned importance by layer and state, (n_layers, n_states), not negative: 1 at the start, 0
    has no effect at all."""
    return torch.stack([mixer.weights_of_states().detach() for mixer in model.mixers()])


@torch.no_grad()
def prune_states(model: SimpleNSM, n_states: int, *, ranking: Tensor | None = None) -> SimpleNSM:
    """A smaller copy that keeps the `n_states` most important states of each layer, in their order;
    or those that another `ranking` (n_layers, n_states) puts highest, for a control.

    Its outputs are the model's own as far as the importance of what is dropped is zero. Raises
    `ConfigError` if `n_states` is not from 1 to the model's."""
    if not 1 <= n_states <= model.config.n_states:
        raise ConfigError(f"from 1 to {model.config.n_states} states are kept", got=n_states)
    kept = (
        (state_importance(model) if ranking is None else ranking)
        .argsort(dim=1, descending=True, stable=True)[:, :n_states]
        .sort(dim=1)
        .values
    )
    config = replace(model.config, n_states=n_states, top_k=min(model.config.top_k, n_states))
    weights = model.state_dict()
    for (name, mixer), index in zip(_named_mixers(model), kept, strict=True):
        weights[f"{name}.initial"], weights[f"{name}.importance"] = (
            mixer.initial[index],
            mixer.importance[index],
        )
    return _load(SimpleNSM(config), model, weights)


@torch.no_grad()
def allocate_states(model: SimpleNSM, n_new: int, generator: torch.Generator) -> SimpleNSM:
    """A copy with `n_new` more states in each layer, drawn from `generator`, of importance zero:
    the outputs do not change.

    Gradients reach the new importances, so that training decides which of them are needed. Raises
    `ConfigError` below 0."""
    if n_new < 0:
        raise ConfigError("at least 0 states are added", got=n_new)
    weights = model.state_dict()
    for name, mixer in _named_mixers(model):
        drawn = torch.randn(n_new, mixer.initial.shape[1], generator=generator).to(mixer.initial)
        weights[f"{name}.initial"] = torch.cat((mixer.initial, drawn))
        weights[f"{name}.importance"] = torch.cat(
            (mixer.importance, mixer.importance.new_zeros(n_new))
        )
    return _load(
        SimpleNSM(replace(model.config, n_states=model.config.n_states + n_new)), model, weights
    )


def _named_mixers(model: SimpleNSM) -> list[tuple[str, StateMixer]]:
    return [
        (name, module) for name, module in model.named_modules() if isinstance(module, StateMixer)
    ]


def _load(new: SimpleNSM, model: SimpleNSM, weights: dict[str, Tensor]) -> SimpleNSM:
    new.load_state_dict(weights)
    return new.to(model.head.weight).train(model.training)
