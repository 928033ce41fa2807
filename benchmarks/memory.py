"""`gpt2-memory`: whole runs with their energy, what each expert is worth, orders, pruning against
bytes, sizes of text, samples beside those of `gpt2`, and evolution against random search.

    python -m benchmarks.memory --data text:FOLDER --tokenizer gpt2 --device cuda --out memory.json
    python -m benchmarks.memory --data python-stdlib --tokenizer bpe:4096 --device cpu --parts runs,rate --out std.json

The record is written after each row, `--minutes` ends it early, and the same command goes on.

Runs are whole (`clso evolve`: library, search, winner chosen on `valid`, read back from disk). In the ablation a genome's
model is grown and counted on the statistics text, its weights fitted on the fitness text, and its loss taken on all of
`test`: no search, so that only the named part differs from the hand-set genome.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.memory_search import equal_joules
from benchmarks.record import Record
from clso.config import RunConfig
from clso.data import Corpus, load_corpus
from clso.device import resolve_device
from clso.grown.distribution import MemoryReader
from clso.models.gpt2 import LanguageModel, text_loss
from clso.models.memory import MemoryModel
from clso.models.store import load_model, save_model
from clso.run import evolve
from clso.run.manifest import describe_device, describe_software
from clso.search_spaces.gpt2_memory import GPT2MemorySpace
from clso.search_spaces.gpt2_memory.genes import MEMORY_GENES
from clso.search_spaces.gpt2_memory.weights import line_losses
from clso.space import Genome
from clso.space.context import SpaceContext

PARTS = ("runs", "disk", "experts", "orders", "pruning", "sizes", "rate", "samples", "search")
TEMPERATURE, SAMPLE_TOKENS, PROMPT_TOKENS = 0.8, 80, 12
ORDERS = (2, 3, 4, 5, 6, 8, 10)
EXPERTS: dict[str, dict[str, Any]] = {
    "no skip contexts": {"memory.skips": 0},
    "no contexts with classes": {"memory.classes": 0},
    "no explicit counts again": {"memory.explicit": False},
    "no grown GPT-2": {"memory.grown": False},
    "no shares of the past": {"past.shares": 0},
    "no matches": {"past.matches": 0},
    "neither shares nor matches": {"past.shares": 0, "past.matches": 0},
    "coarse buckets": {"buckets": "coarse"},
    "one weight a stage": {"buckets": "one"},
}
PRUNED = [
    *({"memory.skips.cut": cut} for cut in MEMORY_GENES["memory.skips.cut"]),
    *({"memory.cut": cut} for cut in MEMORY_GENES["memory.cut"]),
    *({"memory.entropy.high": t} for t in MEMORY_GENES["memory.entropy.high"]),
    *(
        {"memory.entropy.low": t, "memory.entropy.high": t}
        for t in MEMORY_GENES["memory.entropy.low"]
    ),
]


class Prefix:
    """A corpus whose statistics text is cut after `n` tokens."""

    def __init__(self, corpus: Any, n: int) -> None:
        self._corpus, self._n, self.vocab_size = corpus, n, corpus.vocab_size
        self.content_hash = hashlib.sha256(f"{corpus.content_hash} {n}".encode()).hexdigest()

    def tokens(self, split: str) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = self._corpus.tokens(split)
        return found[: self._n] if split == "statistics" else found


def genome(space: GPT2MemorySpace, changes: dict[str, Any]) -> Genome:
    """The hand-set genome with other values of some of the memory's genes."""
    out, names = list(space.seeds()[0]), list(MEMORY_GENES)
    for name, value in changes.items():
        out[space.n_grown + names.index(name)] = MEMORY_GENES[name].index(value)
    return tuple(out)


def measured(space: GPT2MemorySpace, changes: dict[str, Any]) -> dict[str, Any]:
    """Test loss and bytes of one genome's model, and the seconds that it took."""
    begin, chosen = time.perf_counter(), genome(space, changes)
    model = space.model(chosen).to(space.context.device)
    loss = text_loss(model, space.blocks("test"))
    return {
        "changes": {k: str(v) for k, v in changes.items()},
        "test_loss": loss,
        "n_bytes": space.costs(chosen)["n_bytes"],
        "time_s": time.perf_counter() - begin,
    }


def whole_run(args: argparse.Namespace, space: str, seed: int) -> dict[str, Any]:
    """A whole run: losses, joules and seconds by phase, the winner in words, bytes on disk."""
    config = configured(args, space, seed)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        result = evolve(config, Path(folder) / "run")
        cpu_s = time.process_time() - begin
        best = Path(folder) / "run" / "best"
        n_bytes = {path.name: path.stat().st_size for path in sorted(best.iterdir())}
    kept = ("best", "energy_j", "energy_reason", "time_s", "counts", "tokens_forward")
    return {"seed": seed, "n_bytes": n_bytes, "cpu_s": cpu_s, **{k: result[k] for k in kept}}


def on_disk(space: GPT2MemorySpace) -> dict[str, Any]:
    """The hand-set genome's model: bytes of its files, seconds to write it, read it, and make its tables."""
    device = torch.device(space.context.device)
    model, times = space.final_model(space.seeds()[0]), {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        out = work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times[name] = time.perf_counter() - begin
        return out

    with tempfile.TemporaryDirectory() as folder:
        timed("write_s", lambda: save_model(model, Path(folder)))
        n_bytes = {path.name: path.stat().st_size for path in sorted(Path(folder).iterdir())}
        loaded = timed("read_s", lambda: load_model(Path(folder), device=str(device)))
    timed("tables_s", lambda: (loaded.memory.tables, loaded.memory.skips))
    return {"n_bytes": n_bytes, **times}


def rates(space: GPT2MemorySpace) -> dict[str, float]:
    """Candidates a second: pairs of a mixture and a grown part whose probabilities are there, and mixtures that are not."""
    blocks, device = space.blocks("fitness", 2048), torch.device(space.context.device)
    n = blocks[:, 1:].numel()
    a, b, p = (torch.rand(512, n, dtype=torch.float64, device=device) for _ in range(3))
    line_losses(a, b, p).sum().item()
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < 3:
        line_losses(a, b, p).sum().item()
        done += len(a)
    shared = done / (time.perf_counter() - begin)
    settings = [
        genome(space, {"past.decay": d, "past.rarity": r})
        for d in (0.95, 0.97)
        for r in (0.0, 0.25)
    ]
    space.losses(settings[:1], blocks)
    begin = time.perf_counter()
    space.losses(settings[1:], blocks)
    new = (len(settings) - 1) / (time.perf_counter() - begin)
    return {"shared_per_s": shared, "new_mixtures_per_s": new, "n_tokens": n}


def sample(args: argparse.Namespace, corpus: Corpus, space: str) -> dict[str, Any]:
    """A text drawn from a whole run's winner, after the first tokens of the test text."""
    config = configured(args, space, 0)
    with tempfile.TemporaryDirectory() as folder:
        evolve(config, Path(folder) / "run")
        model = load_model(Path(folder) / "run" / "best", device=args.device)
    prompt = [int(token) for token in corpus.tokens("test")[:PROMPT_TOKENS]]
    drawn = continued(model, prompt, SAMPLE_TOKENS)
    return {
        "temperature": TEMPERATURE,
        "prompt": corpus.decode(prompt),
        "text": corpus.decode(drawn),
    }


@torch.no_grad()
def continued(model: LanguageModel, prompt: Sequence[int], n: int) -> list[int]:
    """`n` tokens drawn one by one at `TEMPERATURE`, seed 0; prompt and text are one block."""
    lm, reader = model, None
    if isinstance(model, MemoryModel):
        lm, reader = model.lm, MemoryReader(model.memory, model.recipe, model.weights)
    device = next(lm.parameters()).device
    generator, tokens = torch.Generator().manual_seed(0), list(prompt)
    if reader:
        for token in prompt:
            reader.push(token)
    for _ in range(n):
        p = lm(torch.tensor([tokens], device=device))[0, -1].double().softmax(0)
        p = reader.distribution(p) if reader else p
        p = p.cpu().log().div(TEMPERATURE).softmax(0)
        tokens.append(int(torch.multinomial(p, 1, generator=generator)))
        if reader:
            reader.push(tokens[-1])
    return tokens[len(prompt) :]


def configured(args: argparse.Namespace, space: str, seed: int) -> RunConfig:
    """A whole run's settings."""
    return RunConfig(
        space=space,
        data=args.data,
        tokenizer=args.tokenizer,
        gens=args.gens,
        seed=seed,
        device=args.device,
        options={"bilinear_tokens": args.bilinear_tokens} if space == "gpt2-memory" else {},
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="python-stdlib")
    parser.add_argument("--tokenizer", default="bpe:4096")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--search-seeds", type=int, default=8, help="pairs of the part search")
    parser.add_argument("--gens", type=int, default=50)
    parser.add_argument(
        "--bilinear-tokens", type=int, default=0, help="of the log-bilinear expert of gpt2-memory"
    )
    parser.add_argument(
        "--spaces", default="gpt2-memory", help="of the whole runs, e.g. gpt2,gpt2-memory"
    )
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--sizes", default="10000,30000,100000,300000,1000000,3000000")
    parser.add_argument("--minutes", type=float, default=60, help="no row begins after these")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    if unknown := set(args.parts.split(",")) - set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    args.device = resolve_device(args.device)
    corpus = load_corpus(args.data, args.tokenizer)
    options = {"bilinear_tokens": args.bilinear_tokens}
    context = SpaceContext(load_corpus=lambda: corpus, device=args.device, options=options)
    space = GPT2MemorySpace(context)
    start = {
        "device": describe_device(args.device),
        "software": describe_software(),
        "corpus": corpus.spec,
        "gens": args.gens,
        **options,
    }
    record = Record(args.out, start, args.minutes)

    def of_size(n: int) -> dict[str, Any]:
        cut: Any = Prefix(corpus, n)
        return measured(GPT2MemorySpace(replace(context, load_corpus=lambda: cut)), {})

    available = len(corpus.tokens("statistics"))
    for part in args.parts.split(","):
        if part == "runs":
            for seed in range(args.seeds):
                for name in args.spaces.split(","):
                    record.add(part, f"{name} {seed}", partial(whole_run, args, name, seed))
        elif part == "disk":
            record.add(part, "hand-set", partial(on_disk, space))
        elif part == "experts":
            for name, changes in {"all": {}, **EXPERTS}.items():
                record.add(part, name, partial(measured, space, changes))
            if args.bilinear_tokens:
                without = GPT2MemorySpace(replace(context, options={}))
                record.add(part, "no log-bilinear expert", partial(measured, without, {}))
        elif part == "orders":
            for k in ORDERS:
                record.add(part, str(k), partial(measured, space, {"memory.order": k}))
        elif part == "pruning":
            for changes in PRUNED:
                name = ", ".join(f"{key} {value}" for key, value in changes.items())
                record.add(part, name, partial(measured, space, changes))
        elif part == "sizes":
            for n in (*(n for n in map(int, args.sizes.split(",")) if n < available), available):
                record.add(part, str(n), partial(of_size, n))
        elif part == "rate":
            record.add(part, "candidates", partial(rates, space))
        elif part == "samples":
            for name in ("gpt2", "gpt2-memory"):
                record.add(part, name, partial(sample, args, corpus, name))
        elif part == "search":
            config = configured(args, "gpt2-memory", 0).with_options(idle_s=0.0)
            equal_joules(record, config, args.search_seeds)


if __name__ == "__main__":
    main()
