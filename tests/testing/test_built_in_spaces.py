"""The built-in spaces and surrogates pass the kit that strangers' pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toys

from clso.data import load_corpus
from clso.search_spaces.gpt2.space import GPT2Space
from clso.search_spaces.gpt2_pointer.space import GPT2PointerSpace
from clso.space import SearchSpace
from clso.space.context import SpaceContext
from clso.space.language import LanguageModelSpace
from clso.surrogates.forest import forest
from clso.surrogates.gaussian_process import gp
from clso.surrogates.linear import ridge
from clso.testing import SpaceConformance, SurrogateConformance


class LanguageModelConformance(SpaceConformance):
    """Over a tiny corpus. The engine's own tests cover PYTHONHASHSEED with whole runs."""

    max_examples = 5
    other_process = False
    kind: type[LanguageModelSpace] = GPT2Space
    options: dict[str, Any] = {}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def _text(self, english_path: Path) -> None:
        self.path = english_path

    def make_space(self) -> SearchSpace:
        context = SpaceContext(
            load_corpus=lambda: load_corpus(f"text:{self.path}", "bpe:300"),
            fitness_tokens=(256, 1024),
            options={
                "n_layers": 2,
                "d_model": 32,
                "n_heads": 2,
                "n_positions": 32,
                **self.options,
            },
        )
        return self.kind.from_context(context)


class TestGPT2Random(LanguageModelConformance):
    options = {"library": "random", "library_size": 14}  # noqa: RUF012


class TestGPT2Grown(LanguageModelConformance):
    pass


class TestGPT2GrownWithMLP(LanguageModelConformance):
    options = {"mlp": True}  # noqa: RUF012


class TestGPT2Pointer(LanguageModelConformance):
    kind = GPT2PointerSpace


class TestOneMax(SpaceConformance):
    other_process = False

    def make_space(self) -> SearchSpace:
        return toys.OneMax()


class TestRidge(SurrogateConformance):
    def make_surrogate(self, random_state: int) -> Any:
        return ridge(random_state)


class TestForest(SurrogateConformance):
    max_examples = 3

    def make_surrogate(self, random_state: int) -> Any:
        return forest(random_state)


class TestGaussianProcess(SurrogateConformance):
    def make_surrogate(self, random_state: int) -> Any:
        return gp(random_state)
