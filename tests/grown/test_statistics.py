"""Counting and factorising: against brute force on small texts, and in bounded memory on a large
one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from waiting import HANG_S

from clso.grown import statistics as module
from clso.grown.als import AlsConfig, SeenRows, factorise, half_step, hash_noise
from clso.grown.counted import bigram_counts
from clso.grown.statistics import count_pairs, kneser_ney


def _text(n: int = 3000, v: int = 40) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    return (torch.rand(n, generator=g) ** 3 * v).long()


@pytest.mark.parametrize("lag", [1, 2, 5])
def test_counts_are_those_of_a_loop(lag: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 700)  # several chunks, merged
    text = _text()
    expected = torch.zeros(40, 40)
    for a, b in zip(text[:-lag].tolist(), text[lag:].tolist(), strict=True):
        expected[a, b] += 1
    pairs = count_pairs(text, 40, lag)
    found = torch.zeros(40, 40)
    found[pairs.i, pairs.j] = pairs.count
    assert torch.equal(found, expected)
    assert (pairs.i * 40 + pairs.j).diff().min() > 0  # sorted, distinct


def test_targets_give_kneser_ney_back() -> None:
    """exp(S) lambda p_cont is the interpolated probability at seen pairs, and each row sums to
    one."""
    statistics = kneser_ney(count_pairs(_text(), 40), discount=0.7)
    pairs = statistics.pairs
    p = statistics.back_off[:, None] * statistics.p_cont[None, :]
    p[pairs.i, pairs.j] *= torch.exp(statistics.target)
    seen = statistics.row > 0
    assert torch.allclose(p[seen].sum(1), torch.ones(int(seen.sum())), atol=1e-4)


def test_conjugate_gradients_solve_the_normal_equations() -> None:
    v, k = 40, 6
    statistics = kneser_ney(count_pairs(_text(), v))
    pairs = statistics.pairs
    seen = SeenRows(pairs.i, pairs.j, pairs.count, statistics.target, v)
    other = hash_noise(v, k, torch.device("cpu"))
    columns, rows = torch.full((v,), 0.02), torch.rand(v) + 0.5
    found = half_step(seen, other, columns, rows, None, steps=40, ridge=0.1)
    gram = (other * columns[:, None]).T @ other
    gram.diagonal().add_(1e-4 * gram.diagonal().mean())
    for row in seen.rows.tolist():
        own = pairs.i == row
        b, c, s = other[pairs.j[own]], pairs.count[own], statistics.target[own]
        system = rows[row] * (gram + 0.1 * torch.eye(k)) + (c[:, None] * b).T @ b
        expected = torch.linalg.solve(system, (c * s) @ b)
        assert torch.allclose(found[row], expected, atol=2e-3, rtol=2e-3)
    unseen = torch.ones(v, dtype=torch.bool)
    unseen[seen.rows] = False
    assert not found[unseen].any()


def test_codes_are_reproducible_and_fit_better_with_rank() -> None:
    statistics = kneser_ney(count_pairs(_text(), 40))

    def error(rank: int) -> float:
        a, b = factorise(statistics, AlsConfig(rank=rank))
        fit = (a @ b.T)[statistics.pairs.i, statistics.pairs.j]
        return float((statistics.pairs.count * (fit - statistics.target) ** 2).mean())

    assert error(4) == error(4)
    assert error(16) < error(8) < error(2)


class _Corpus:
    vocab_size, content_hash = 40, "a" * 64

    def __init__(self) -> None:
        self.reads = 0

    def tokens(self, split: str) -> Any:
        self.reads += 1
        return _text().numpy().astype(np.uint16)


def test_a_text_is_counted_once(tmp_path: Path) -> None:
    corpus: Any = _Corpus()
    first = bigram_counts(corpus, "train", torch.device("cpu"), tmp_path)
    again = bigram_counts(corpus, "train", torch.device("cpu"), tmp_path)
    assert corpus.reads == 1
    assert all(
        torch.equal(x, y)
        for x, y in ((first.i, again.i), (first.j, again.j), (first.count, again.count))
    )
    (file,) = (tmp_path / "statistics").iterdir()
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 4
    for reads, damaged in enumerate((whole[:50], bytes(flipped), b""), 2):  # counted anew
        file.write_bytes(damaged)
        assert torch.equal(
            bigram_counts(corpus, "train", torch.device("cpu"), tmp_path).count, first.count
        )
        assert corpus.reads == reads
        assert file.read_bytes() == whole


def test_five_million_tokens_stay_within_the_stated_memory() -> None:
    """0.5 GB for a chunk's sort, 24 bytes a pair for counts, the codes, and torch itself."""
    code = (
        "import resource, torch\n"
        "from clso.grown.statistics import count_pairs, kneser_ney\n"
        "from clso.grown.als import AlsConfig, factorise\n"
        "g = torch.Generator().manual_seed(0)\n"
        "text = (torch.rand(5_000_000, generator=g) ** 4 * 50257).long()\n"
        "s = kneser_ney(count_pairs(text, 50257))\n"
        "a, b = factorise(s, AlsConfig(rank=47, iterations=1, steps=1))\n"
        "print(len(s.pairs), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANG_S
    )
    n_pairs, peak_kb = map(int, done.stdout.split())
    assert n_pairs > 1_000_000
    assert peak_kb < 2_500_000
