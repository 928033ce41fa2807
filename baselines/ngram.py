"""`ngram`: unigram and Kneser-Ney bigram and trigram on the training text. No neural network, a fraction of a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from baselines.kneser_ney import KneserNey
from clso.baseline import Baseline, BaselineJob

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
                valid = model.loss(job.corpus.tokens("valid"), block=job.config.n_positions)
            with job.ledger.phase("test"):
                test = model.loss(job.corpus.tokens("test"), block=job.config.n_positions)
            results[name] = {"valid_loss": valid, "test_loss": test}
        best = min(results, key=lambda name: results[name]["valid_loss"])
        return {**results, "best": {"model": best, **results[best]}}
