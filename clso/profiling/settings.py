"""What is profiled, at which sizes, and how long each cell is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from clso.errors import ConfigError
from clso.profiling.layout_names import LAYOUTS, Layout
from clso.profiling.mixes import parse_mix

__all__ = ["Dtype", "ProfileSettings"]

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class ProfileSettings:
    """Settings of `clso profile`; raises `ConfigError` for a value that breaks a rule.

    Attributes:
        models: names of the entry-point group `clso.models`, or FILE.py:CLASS.
        lengths: tokens of a sequence; kept in rising order.
        batch: sequences of a batch.
        d_model, n_layers, n_heads, vocab_size, n_classes: the models' sizes (n_classes 0: a
        language model).
        dtype: of weights and activations.
        equal_parameters: search each model's d_model so that it has this many parameters; None:
        d_model as given.
        repeats: least repetitions of a timing.
        min_time_s: a cell is repeated until at least this many seconds have gone by.
        max_time_s: no pass of a cell begins after so many seconds; a cell that cannot be timed within them is skipped.
        memory_budget_bytes: on a CPU, what one cell may hold above what the process already holds; None: 80 % of
            the memory that is free at the start. A CUDA device has its own memory as the limit.
        device, energy, seed: as in a run. On the device meta nothing is allocated or timed, only counted.
        tied_head: the head's weights are the embedding's, for models that can.
        mix: document lengths of a batch (`clso.profiling.mixes`), instead of `lengths` and `batch`; "": equal lengths.
        docs, micro: documents of a batch of a mix, and micro-batches that they are divided into, in every layout.
        pad_to: slots of a document in the layout padded; 0: as many as the mix's longest document has tokens.
        layouts: of a mix (`clso.profiling.layouts`).
        step: measure whole steps, with fused AdamW.
    """

    models: tuple[str, ...]
    lengths: tuple[int, ...] = (1024, 2048, 4096)
    batch: int = 1
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    vocab_size: int = 256
    n_classes: int = 0
    dtype: Dtype = "float32"
    equal_parameters: int | None = None
    repeats: int = 5
    min_time_s: float = 1.0
    max_time_s: float = 60.0
    memory_budget_bytes: int | None = None
    device: str = "auto"
    energy: str = "auto"
    seed: int = 0
    tied_head: bool = False
    mix: str = ""
    docs: int = 8
    micro: int = 1
    pad_to: int = 0
    layouts: tuple[Layout, ...] = LAYOUTS
    step: bool = False

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError(
                "at least one model is profiled", remedy="Name models, or FILE.py:CLASS."
            )
        if len(set(self.models)) < len(self.models):
            raise ConfigError("each model is named once", got=self.models)
        if not self.lengths or min(self.lengths) < 2:
            # The loss is that of the next token, so a sequence needs one.
            raise ConfigError(
                "lengths are whole numbers of at least 2 tokens", got=list(self.lengths)
            )
        object.__setattr__(self, "lengths", tuple(sorted(set(self.lengths))))
        for name in ("batch", "d_model", "n_layers", "n_heads", "repeats"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is at least 1", got=getattr(self, name))
        if self.vocab_size < 2:
            raise ConfigError("vocab_size is at least 2", got=self.vocab_size)
        if self.n_classes < 0 or self.n_classes == 1:
            raise ConfigError(
                "n_classes is 0 (a language model) or at least 2",
                got=self.n_classes,
            )
        if not 0 <= self.min_time_s < float("inf"):
            raise ConfigError(
                "the seconds of a cell are a number of at least 0", got=self.min_time_s
            )
        if not self.max_time_s > 0:
            raise ConfigError(
                "the most seconds of a cell are a number above 0", got=self.max_time_s
            )
        if self.dtype not in get_args(Dtype):
            raise ConfigError(f"dtype is {' or '.join(get_args(Dtype))}", got=self.dtype)
        if self.pad_to < 0:
            raise ConfigError("pad_to is at least 0, the mix's longest document", got=self.pad_to)
        for name in ("equal_parameters", "memory_budget_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is at least 1", got=value)
        object.__setattr__(self, "layouts", tuple(self.layouts))
        if not -(1 << 63) <= self.seed < 1 << 63:
            raise ConfigError("seed is a number of 64 bits", got=self.seed)
        self._check_batch()
        if self.mix:
            self._check_mix(parse_mix(self.mix).longest)
        if self.device == "meta" and (self.step or self.mix):
            what = "a step" if self.step else "a mix"
            raise ConfigError(
                f"{what} is timed on a device that computes",
                got=self.device,
                remedy="Leave it out.",
            )

    def _check_batch(self) -> None:
        """Of a mix's batch, and said without a mix, too."""
        if self.docs < 1:
            raise ConfigError("docs is at least 1", got=self.docs)
        if not 1 <= self.micro <= self.docs:
            raise ConfigError(f"micro is from 1 to the documents, {self.docs}", got=self.micro)
        if not self.layouts or len(set(self.layouts)) < len(self.layouts):
            raise ConfigError("each layout is named once", got=list(self.layouts))
        for layout in self.layouts:
            if layout not in LAYOUTS:
                raise ConfigError(f"layouts are {', '.join(LAYOUTS)}", got=layout)

    def _check_mix(self, longest: int) -> None:
        if self.n_classes:
            raise ConfigError(
                "mixes are for language models", problem=f"{self.n_classes} classes were asked for"
            )
        if self.pad_to and self.pad_to < longest:
            raise ConfigError(
                f"pad_to is at least the mix's longest document, {longest}",
                got=self.pad_to,
                remedy="Raise --pad-to, or shorten the mix.",
            )
        object.__setattr__(self, "pad_to", self.pad_to or longest)
        object.__setattr__(self, "lengths", (self.pad_to,))
