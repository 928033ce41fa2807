"""What patterns cost and keep: FLOPs as executed, memory linear in the length, contexts by their rule."""

from __future__ import annotations

import itertools

import pytest
import torch

from clso.errors import ConfigError
from clso.models import attention_varlen
from clso.models.attention import attend, backend
from clso.models.attention_adaptive import Evidence
from clso.models.attention_contexts import (
    EQUILIBRIUM,
    ContextPolicy,
    bounding_contexts,
    contexts_of,
)
from clso.models.attention_patterns import Pyramid, parse_layer, parse_pattern
from clso.models.attention_sparse import choose_blocks
from clso.models.documents import Documents
from clso.models.vsla import VSLA, VSLAConfig
from clso.profiling.flops import flop_formulas
from clso.profiling.memory import LiveBytes
from clso.profiling.watch import Watch

PATTERNS = [
    "full",
    "local:5",
    "local:100",
    "sparse:16:2",
    "pyramid:8",
    "adaptive:entropy:4:64:32:150",
    "adaptive:diversity:5:64:32:150",
]
LENGTHS = (1, 13, 16, 16, 130, 300, 301, 513)


def offsets_of(lengths: tuple[int, ...]) -> torch.Tensor:
    return torch.tensor([0, *itertools.accumulate(lengths)])


@pytest.mark.parametrize(
    "pattern", [*PATTERNS, "full+local:9", "adaptive:diversity:5:64:32:150+pyramid:8"]
)
def test_flops_are_those_executed(pattern: str) -> None:
    model = VSLA(
        VSLAConfig(vocab_size=30, n_positions=513, d_model=16, patterns=(pattern, pattern))
    )
    model.init_weights(torch.Generator().manual_seed(0))
    tokens = torch.randint(30, (sum(LENGTHS),), generator=torch.Generator().manual_seed(1))
    with Watch([], None) as watch:
        model.packed(tokens, offsets_of(LENGTHS))
    assert watch.flops == model.packed_flops(tokens, offsets_of(LENGTHS))
    if "adaptive" in pattern:
        assert watch.flops <= sum(map(model.forward_flops, LENGTHS))
    else:
        assert watch.flops == sum(map(model.forward_flops, LENGTHS))


@pytest.mark.parametrize(
    "pattern", ["full", "local:64", "sparse:64:2", "pyramid:32", "adaptive:entropy:9:128:64:128"]
)
def test_memory_is_linear_in_the_length(pattern: str) -> None:
    def peak(n: int) -> int:
        q, k, v = torch.randn(
            3, n, 2, 8, generator=torch.Generator().manual_seed(0)
        ).requires_grad_()
        documents = Documents(torch.tensor([0, n]), n, q.device)
        evidence = Evidence(torch.zeros(n, dtype=torch.long))
        with LiveBytes([]) as alive:
            attend(parse_pattern(pattern), q, k, v, documents, evidence).sum().backward()
        return alive.peak_bytes

    assert peak(8192) / peak(4096) < 2.3


@pytest.mark.parametrize(
    "pattern", ["local:64", "sparse:64:2", "pyramid:32", "adaptive:entropy:9:128:64:128"]
)
def test_scores_are_not_all_computed(pattern: str) -> None:
    assert parse_pattern(pattern).pairs(32_768) < 0.02 * parse_pattern("full").pairs(32_768)


@pytest.mark.parametrize("text", [*PATTERNS, "adaptive:perplexity:300", "local:1", "sparse:1:1"])
def test_labels_are_read_back(text: str) -> None:
    assert parse_pattern(text).label == text
    assert parse_pattern(parse_pattern(text).label) == parse_pattern(text)


def test_heads_of_a_layer() -> None:
    assert len(parse_layer("full", 4)) == 4
    assert [p.label for p in parse_layer("full+local:3", 2)] == ["full", "local:3"]


@pytest.mark.parametrize(
    ("n", "w"), [(1, 4), (4, 4), (5, 4), (64, 4), (65, 4), (100, 7), (512, 16)]
)
def test_what_a_pyramid_keeps(n: int, w: int) -> None:
    """By hand: after each token the own window, and averages merged as soon as two of one size meet."""
    averages: list[int] = []
    own = most = 0
    for _ in range(n):
        if own == w:
            own = 0
            averages.append(1)
            while len(averages) > 1 and averages[-1] == averages[-2]:
                averages[-2:] = [2 * averages[-1]]
        own += 1
        most = max(most, own + len(averages))
    pattern = Pyramid(w)
    assert pattern.kept(n) == most
    assert pattern.levels(n) <= 1 + max(0, (n / w).__ceil__().bit_length())
    assert most <= w + pattern.levels(n)


def test_what_other_patterns_keep() -> None:
    kept = {p: parse_pattern(p).kept(512) for p in ("full", "local:64", "local:600", "sparse:64:1")}
    assert kept == {"full": 512, "local:64": 64, "local:600": 512, "sparse:64:1": 512}
    assert parse_pattern("adaptive:entropy:5:64:32:96").kept(512) == 96
    assert parse_pattern("adaptive:entropy:5").kept(1024) == 1024


def test_equal_blocks_are_chosen_from_the_end() -> None:
    q, k = torch.ones(1, 12, 2), torch.ones(1, 12, 2)
    k[0, 4:6] = 3.0  # block 2 is liked best
    chosen = choose_blocks(q, k, parse_pattern("sparse:2:2"))  # type: ignore[arg-type]
    assert chosen[0, ::2].tolist() == [[1, -1], [2, 1], [2, 3], [2, 4]]


def test_contexts_grow_and_shrink_between_their_bounds() -> None:
    policy = ContextPolicy("entropy", 5.0)
    assert contexts_of(policy, [True] * 7) == [512, 768, 1152, 1728, 2592, 3888, 4096, 4096]
    assert contexts_of(policy, [False] * 8) == [512, 409, 327, 262, 209, 167, 134, 128, 128]
    assert bounding_contexts(policy, 129) == [512, 768]
    assert bounding_contexts(policy, 128) == [512]


@pytest.mark.parametrize(("share", "drifts"), [(EQUILIBRIUM - 0.05, -1), (EQUILIBRIUM + 0.05, 1)])
def test_the_rule_drifts_upwards_from_a_third_on(share: float, drifts: int) -> None:
    assert pytest.approx(0.355, abs=5e-4) == EQUILIBRIUM
    policy = ContextPolicy("entropy", 5.0, start=10**6, low=1, high=10**12)
    n = 200
    expansions = [int((i + 1) * share) > int(i * share) for i in range(n)]
    assert (contexts_of(policy, expansions)[-1] > policy.start) == (drifts > 0)


def test_contexts_follow_the_text_before() -> None:
    """Plain text shrinks them, rich text grows them, and a segment's own text does neither."""
    policy = "adaptive:entropy:4:200:50:1000"
    model = VSLA(
        VSLAConfig(vocab_size=200, n_positions=640, d_model=8, n_layers=1, patterns=(policy,))
    )
    model.init_weights(torch.Generator().manual_seed(0))
    plain, rich = torch.zeros(128, dtype=torch.long), torch.arange(128)
    tokens = torch.cat((plain, rich, rich, plain, rich))
    (found,) = model.contexts(tokens, torch.tensor([0, 640]))
    assert found["pattern"] == policy
    assert found["contexts"] == [[[200, 160, 240, 360, 288]]] * 2


def test_unigrams_are_asked_for() -> None:
    model = VSLA(
        VSLAConfig(
            vocab_size=10,
            n_positions=256,
            d_model=8,
            n_layers=1,
            patterns=("adaptive:perplexity:9",),
        )
    )
    assert "unigram_log_p" in model.state_dict()
    with pytest.raises(ConfigError, match="unigrams"):
        evidence = Evidence(torch.zeros(256, dtype=torch.long))
        q = torch.zeros(256, 1, 8)
        attend(
            parse_pattern("adaptive:perplexity:9"),
            q,
            q,
            q,
            Documents(torch.tensor([0, 256]), 256, q.device),
            evidence,
        )


def test_the_way_taken_has_a_name() -> None:
    cpu = torch.device("cpu")
    assert (
        backend(parse_layer("full+local:8", 2), cpu, torch.bfloat16, 64)
        == "local by chunks, sdpa by length"
    )
    assert not attention_varlen.takes(cpu, torch.bfloat16, 64, None)


@pytest.mark.parametrize("pattern", ["full", "local:9"])
def test_flops_of_the_cuda_kernel_are_those_stated(pattern: str) -> None:
    operators = attention_varlen.operators()
    if operators is None:
        pytest.skip("this torch has no varlen_attn")
    forward, backward = operators
    q = torch.empty(30, 3, 8)
    bounds = torch.tensor([0, 4, 30], dtype=torch.int32)
    window = [-1, 0] if pattern == "full" else [8, 0]
    rest = (bounds, 26, 26, False, None, window)
    formulas = flop_formulas()
    stated = 3 * sum(parse_pattern(pattern).flops(n, 8) for n in (4, 26))
    assert formulas[forward](q, q, q, bounds, *rest, out_val=None) == stated
    backward_rest = (bounds, 26, 26, False, None, None, window)
    assert (
        formulas[backward](q, q, q, q, q, q, bounds, *backward_rest, out_val=None)
        == stated * 5 // 2
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="one kernel for all lengths needs CUDA")
@pytest.mark.parametrize("pattern", ["full", "local:70"])
def test_the_cuda_kernel_gives_what_the_other_way_gives(pattern: str) -> None:
    cuda = torch.device("cuda")
    if not attention_varlen.takes(cuda, torch.bfloat16, 64, 70):
        pytest.skip("this torch or this card has no varlen_attn with windows")
    lengths = (3, 200, 65, 200)
    q, k, v = torch.randn(3, sum(lengths), 2, 64, device=cuda).bfloat16().requires_grad_()
    given = offsets_of(lengths)
    evidence = Evidence(torch.zeros(sum(lengths), dtype=torch.long, device=cuda))
    found = attend(parse_pattern(pattern), q, k, v, Documents(given, len(q), cuda), evidence)
    expected = attend(
        parse_pattern(pattern),
        q.float(),
        k.float(),
        v.float(),
        Documents(given, len(q), cuda),
        evidence,
    )
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)
    grads = (
        torch.autograd.grad(x.float().square().sum(), (q, k, v), retain_graph=True)
        for x in (found, expected)
    )
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=0.2, rtol=0.1)


@pytest.mark.parametrize(
    "pattern", ["full", "local:70", "sparse:16:2", "pyramid:8", "adaptive:entropy:4:64:32:150"]
)
def test_16_bits_stay_near_32(pattern: str) -> None:
    q, k, v = torch.randn(3, 300, 2, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    documents, evidence = (
        Documents(torch.tensor([0, 300]), 300, q.device),
        Evidence(torch.zeros(300, dtype=torch.long)),
    )
    found = attend(parse_pattern(pattern), q, k, v, documents, evidence)
    expected = attend(parse_pattern(pattern), q.float(), k.float(), v.float(), documents, evidence)
    assert found.dtype == torch.bfloat16
    assert (
        found.float() - expected
    ).square().mean().sqrt() < 0.03  # blocks may be chosen another way
