"""MemN2N against the paper's equations, sentence by sentence."""

from __future__ import annotations

import pytest
import torch

from clso.baselines.memn2n import MemN2N, MemN2NConfig
from clso.errors import ConfigError
from clso.tasks.base import load_task
from clso.tasks.models import build_model
from clso.tasks.train import TrainSettings, train_on

STOP = 9


def model(**fields: int) -> MemN2N:
    sizes = {"vocab_size": 10, "d_model": 8, "n_heads": 2, "n_layers": 2, "n_positions": 40}
    config = MemN2NConfig(**{**sizes, "n_classes": 5, "n_memories": 6, **fields})
    return MemN2N(config).init_weights(torch.Generator().manual_seed(0)).double()


def by_hand(net: MemN2N, sentences: list[list[int]], question: list[int]) -> torch.Tensor:
    """Equations 1 to 3 with adjacent weights, the newest memory of age 0."""
    d = net.config.d_model

    def bag(table: torch.nn.Module, words: list[int]) -> torch.Tensor:
        out = torch.zeros(d, dtype=torch.float64)
        n = len(words)
        for j, word in enumerate(words, 1):
            for k in range(1, d + 1):
                weight = (1 - j / n) - (k / d) * (1 - 2 * j / n)
                out[k - 1] += weight * table.weight[word, k - 1].item()  # type: ignore[index]
        return out

    u = bag(net.words[0], question)
    newest_first = sentences[::-1][: net.config.n_memories]
    for hop in range(net.config.n_layers):
        rows = []
        for k in (hop, hop + 1):
            ages = net.ages[k].weight
            rows.append([bag(net.words[k], s) + ages[a] for a, s in enumerate(newest_first)])  # type: ignore[index]
        p = torch.softmax(torch.stack([m @ u for m in rows[0]]), 0)
        u = u + sum(w * c for w, c in zip(p, rows[1], strict=True))
    out: torch.Tensor = net.head(u)
    return out


@pytest.mark.parametrize("n_memories", [6, 2])
def test_it_is_the_papers_recurrence(n_memories: int) -> None:
    net = model(separator=STOP, n_memories=n_memories)
    sentences = [[1, 2, STOP], [3, STOP], [4, 5, 6, STOP], [1, 7, STOP]]
    question = [3, 8]
    flat = [word for s in (*sentences, question) for word in s]
    tokens = torch.tensor([flat, [2, 2, STOP, 4, 8, *[0] * (len(flat) - 5)]])
    found = net(tokens, tokens != 0)
    torch.testing.assert_close(found[0], by_hand(net, sentences, question))
    torch.testing.assert_close(found[1], by_hand(net, [[2, 2, STOP]], [4, 8]))


def test_without_a_separator_windows_are_sentences_and_none_is_fine() -> None:
    net = model(window=3)
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6, 7]])
    torch.testing.assert_close(net(tokens)[0], by_hand(net, [[1, 2, 3], [4, 5, 6]], [7]))
    alone = net(torch.tensor([[1, 2]]))
    assert torch.isfinite(alone).all()


def test_a_language_model_sees_what_was_and_so_many_memories() -> None:
    net = model(n_classes=0, n_memories=4, n_layers=1)
    tokens = torch.randint(1, 10, (2, 20), generator=torch.Generator().manual_seed(1))
    logits = net(tokens)
    assert logits.shape == (2, 20, 10)
    other = tokens.clone()
    other[:, 10] = 10 - other[:, 10]
    changed = (net(other) != logits).any(-1)
    assert not changed[:, :10].any()
    assert not changed[:, 14:].any()  # one hop reaches as far as the memories
    assert changed[:, 10].any()
    losses = net.token_losses(tokens)
    assert losses.shape == (2, 19)
    expected = -torch.log_softmax(logits[0, 3].float(), -1)[tokens[0, 4]]
    torch.testing.assert_close(losses[0, 3], expected)
    with pytest.raises(ConfigError, match="predicts tokens"):
        model().token_losses(tokens)


def test_it_learns_one_supporting_fact_and_knows_the_sentences() -> None:
    task = load_task("stories", {"n_train": 500, "n_valid": 60, "n_test": 60, "max_sentences": 5})
    net = build_model("memn2n", task, {"d_model": 32, "n_layers": 2, "n_heads": 4})
    assert isinstance(net, MemN2N)
    assert net.config.separator == task.separator
    found = train_on(
        net, task, TrainSettings(steps=200, batch=32, eval_every=50, warmup=5), 1e-2, seed=0
    )
    assert found["test_accuracy"] > 0.7
    with pytest.raises(ConfigError, match="separator is a token"):
        model(separator=10)
