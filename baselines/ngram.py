"""`ngram`: unigram and Kneser-Ney bigram and trigram on the training text. No neural network, a
fraction of a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clso.baseline import Baseline, BaselineJob
from clso.baselines.kneser_ney import KneserNey, KneserNeyModel
from clso.errors import DataError

__all__ = ["NGram"]


class NGram(Baseline):
    """Counts on the whole training split, scored in the same blocks as the models."""

    help = "Unigram and Kneser-Ney 2- and 3-grams."

    @dataclass(frozen=True)
    class Settings:
        """No settings."""

    def run(self, job: BaselineJob) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for order, name in ((1, "unigram"), (2, "kn2"), (3, "kn3")):
            job.progress(name)
            with job.ledger.phase("search"):
                model = KneserNey(order).fit(job.corpus.tokens("train"), job.corpus.vocab_size)
            with job.ledger.phase("validate"):
                valid = _block_loss(model, job, "valid")
            with job.ledger.phase("test"):
                test = _block_loss(model, job, "test")
            results[name] = {"valid_loss": valid, "test_loss": test}
        best = min(results, key=lambda name: results[name]["valid_loss"])
        return {**results, "best": {"model": best, **results[best]}}


def _block_loss(model: KneserNeyModel, job: BaselineJob, split: str) -> float:
    """The loss on the targets that the models are scored on: those of the whole blocks of
    `token_blocks`."""
    tokens, block = job.corpus.tokens(split), job.model_config.n_positions
    n_blocks = (len(tokens) - 1) // block
    if n_blocks < 1:
        raise DataError(
            f"a text has at least {block + 1} tokens", got=len(tokens), remedy="Give a longer text."
        )
    return model.loss(tokens[: n_blocks * block + 1], block=block)
