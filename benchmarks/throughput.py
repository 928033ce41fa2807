"""Candidate-tokens per second of the population forward pass: batched, and one candidate at a time.

    python benchmarks/throughput.py --device cuda --vocab 50257

Prints one JSON object: rates, their ratio, the share of the device's own matrix rate (a large
float16 product on CUDA, float32 on a CPU, measured in the same process), and on CUDA how far the
float16 head's losses lie from float32's."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from clso.models.gpt2 import GPT2Config
from clso.models.head_loss import population_head_loss
from clso.models.population import PopulationGPT2
from clso.models.tables import BankedTables


def seconds(work: Callable[[], object], device: str, at_least: float = 0.5) -> float:
    """Median seconds of one call, after a warm-up."""

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    work()
    wait()
    times: list[float] = []
    while sum(times) < at_least or len(times) < 3:
        begin = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2]


def matrix_rate(device: str) -> float:
    """FLOP/s of a large square product in the precision that the head uses."""
    n, dtype = (8192, torch.float16) if device.startswith("cuda") else (2048, torch.float32)
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / seconds(lambda: a @ b, device)


def random_population(config: GPT2Config, n: int, n_tables: int, device: str) -> PopulationGPT2:
    """Candidates with every sub-layer in use and GPT-2's sizes of weights."""
    g = torch.Generator(device).manual_seed(0)

    def normal(*shape: int, scale: float) -> torch.Tensor:
        return torch.randn(*shape, generator=g, device=device) * scale

    d, m = config.d_model, config.d_mlp
    params = {"wpe.weight": normal(n, config.n_positions, d, scale=0.1)}
    for i in range(config.n_layers):
        shapes = {"attn.qkv": (3 * d, d), "attn.o": (d, d), "mlp.fc": (m, d), "mlp.proj": (d, m)}
        params |= {
            f"h.{i}.{k}.weight": normal(n, *s, scale=s[1] ** -0.5) for k, s in shapes.items()
        }
    tables = BankedTables(
        normal(n_tables, config.vocab_size, d, scale=d**-0.5), torch.arange(n) % n_tables
    )
    return PopulationGPT2(config, tables, tables, params)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--pop", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument(
        "--tables", type=int, default=4, help="distinct embeddings and heads among the candidates"
    )
    args = parser.parse_args()
    config = GPT2Config(vocab_size=args.vocab)
    t = config.n_positions
    blocks = torch.randint(args.vocab, (args.tokens // t, t + 1), device=args.device)
    population = random_population(config, args.pop, args.tables, args.device)
    n_tokens = blocks[:, 1:].numel()

    batched = args.pop * n_tokens / seconds(lambda: population.losses(blocks), args.device)
    single = random_population(config, 1, 1, args.device)
    one = n_tokens / seconds(lambda: single.losses(blocks), args.device)
    # The fairest reading of "one at a time" is the original's: a few blocks a call, since it had no
    # shared token budget.
    few = blocks[:4]
    one_small = few[:, 1:].numel() / seconds(lambda: single.losses(few), args.device)
    hidden = population.hidden(blocks[:, :-1])
    targets = blocks[:, 1:].flatten()
    head = (
        args.pop
        * n_tokens
        / seconds(lambda: population_head_loss(hidden, population.heads, targets), args.device)
    )
    body = args.pop * n_tokens / seconds(lambda: population.hidden(blocks[:, :-1]), args.device)
    rate = matrix_rate(args.device)
    flops = config.forward_flops(1)
    tables = population.heads.distinct(torch.float32)
    exact = torch.stack(
        [
            F.cross_entropy(hidden[p] @ tables[population.heads.index[p]].T, targets).double()
            for p in range(min(4, args.pop))
        ]
    )
    error = (population.losses(blocks)[: len(exact)] - exact).abs().max().item()
    print(
        json.dumps(
            {
                "device": torch.cuda.get_device_name() if args.device.startswith("cuda") else "cpu",
                "population": args.pop,
                "tokens": n_tokens,
                "vocabulary": args.vocab,
                "batched_tokens_per_s": batched,
                "one_at_a_time_tokens_per_s": one,
                "one_at_a_time_512_tokens_per_s": one_small,
                "speed_up": batched / one,
                "speed_up_512": batched / one_small,
                "body_tokens_per_s": body,
                "head_tokens_per_s": head,
                "matrix_rate_flop_per_s": rate,
                "share_of_matrix_rate": batched * flops / rate,
                "head_share_of_matrix_rate": head * 2 * config.d_model * args.vocab / rate,
                "largest_loss_error": error,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
