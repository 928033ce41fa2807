"""What a search space is built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clso.config import RunConfig
    from clso.data import Corpus

__all__ = ["SpaceContext"]


@dataclass(frozen=True)
class SpaceContext:
    """What a space is built from. A space that is no language model can ignore all of it."""

    load_corpus: Callable[[], Corpus]
    device: str = "cpu"
    library: str = "grown"
    library_size: int = 64
    checkpoint: str = ""
    """Folder of the GPT-2 that a warm library is cut from."""
    mlp: bool = False
    """Whether grown GPT-2s have genes for hidden units of an MLP."""
    seed: int = 0
    fitness_tokens: tuple[int, ...] = (2048,)
    """Tokens of the rungs, rising: every candidate is measured on the first, promising ones on the
    next."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Overrides of `GPT2Config` (n_layers, d_model, n_heads, n_positions)."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the user set of the space's `Options`."""
    task: str = ""
    """The sequence task that a space with `takes_tasks` is searched on, instead of a text."""

    @classmethod
    def of(cls, config: RunConfig, device: str, load_corpus: Callable[[], Corpus]) -> SpaceContext:
        """The context that a run's settings mean."""
        return cls(
            load_corpus=load_corpus,
            device=device,
            library=config.library,
            library_size=config.library_size,
            checkpoint=config.checkpoint,
            mlp=config.mlp,
            seed=config.seed,
            fitness_tokens=config.fitness_tokens,
            model=config.model_sizes,
            options=config.options,
            task=config.task,
        )
