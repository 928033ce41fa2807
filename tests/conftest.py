"""Shared fixtures: a made-up English text, settings under which a whole run takes about a second,
one finished run."""

from __future__ import annotations

import atexit
import gc
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

# Before torch is imported, and handed on to sub-processes: tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hypothesis
import pytest

from clso.config import RunConfig
from clso.lazy import seldom_look_for_garbage

seldom_look_for_garbage()  # before collection imports what there is

# The same examples everywhere, however busy the machine is.
hypothesis.settings.register_profile("clso", deadline=None, derandomize=True)
hypothesis.settings.load_profile("clso")

# What the tests' runs record about plugin files is nothing of the user's. Sub-processes record
# there, too.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="clso-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# Sources in C are compiled once, and not once by every process that tests start.
if "CLSO_TESTS_COMPILED" not in os.environ:
    os.environ["CLSO_TESTS_COMPILED"] = tempfile.mkdtemp(prefix="clso-tests-compiled-")
    atexit.register(shutil.rmtree, os.environ["CLSO_TESTS_COMPILED"], ignore_errors=True)

_NOUNS = [
    "engine",
    "crystal",
    "river",
    "teacher",
    "garden",
    "matrix",
    "letter",
    "winter",
    "signal",
    "harbour",
]
_VERBS = ["carries", "follows", "measures", "forgets", "builds", "answers", "crosses", "repeats"]
_ADJECTIVES = ["quiet", "heavy", "narrow", "golden", "early", "broken", "distant"]


def make_english(n_bytes: int, seed: int) -> str:
    """Paragraphs of sentences from a small grammar, with some rare words; equal seeds give equal
    text."""
    rng = random.Random(seed)

    def noun() -> str:
        name = (
            rng.choice(_NOUNS)
            if rng.random() < 0.9
            else f"{rng.choice(_NOUNS)} {rng.randrange(100, 1000)}"
        )
        return f"{rng.choice(('the', 'a', 'every'))} {rng.choice(_ADJECTIVES) + ' ' if rng.random() < 0.4 else ''}{name}"

    def sentence() -> str:
        text = f"{noun()} {rng.choice(_VERBS)} {noun()}"
        if rng.random() < 0.3:
            text += f" and {rng.choice(_VERBS)} {noun()}"
        return text[0].upper() + text[1:] + "."

    paragraphs: list[str] = []
    size = 0
    while size < n_bytes:
        paragraphs.append(" ".join(sentence() for _ in range(rng.randrange(3, 9))))
        size += len(paragraphs[-1]) + 2
    return "\n\n".join(paragraphs) + "\n"


def pytest_collection_finish() -> None:
    """What was imported and collected stays: garbage is looked for among what tests make."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        (cache / "native").symlink_to(os.environ["CLSO_TESTS_COMPILED"])
        patch.setenv("CLSO_CACHE", str(cache))
        yield


@pytest.fixture(scope="session")
def english_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("english") / "english.txt"
    path.write_text(make_english(60_000, seed=0), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def other_english_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("other_english") / "other.txt"
    path.write_text(make_english(60_000, seed=1), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny(english_path: Path) -> RunConfig:
    """A whole run in about a second."""
    return RunConfig(
        gens=6,
        pop=8,
        data=f"text:{english_path}",
        tokenizer="bpe:300",
        device="cpu",
        fitness_tokens=(256, 1024),
        valid_tokens=512,
        finalists=2,
        energy="null",
        options={
            "library": "random",
            "library_size": 14,
            "n_layers": 1,
            "d_model": 16,
            "n_heads": 2,
            "n_positions": 32,
        },
    )


@pytest.fixture(scope="session")
def finished_run(tiny: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tiny run. Read it only."""
    from clso.run import evolve

    folder = tmp_path_factory.mktemp("finished") / "run"
    evolve(tiny, folder)
    return folder


@pytest.fixture(scope="session")
def finished_toy_run(tiny: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run in a space that is no language model. Read it only."""
    from clso.run import evolve

    folder = tmp_path_factory.mktemp("finished_toy") / "run"
    evolve(
        replace(
            tiny, space=f"{Path(__file__).parent / 'toys.py'}:OneMax", surrogate="none", options={}
        ),
        folder,
    )
    return folder
