"""How fast, and at how many joules, AdamW trains the reference model in each way that the baseline
knows.

    python benchmarks/adamw_speed.py --min-window-s 60                     # on a GPU: every variant
    python benchmarks/adamw_speed.py --vocab 1000 --d-model 32 --steps 20  # on a CPU: the eager ones

Synthetic text with Zipf frequencies; the losses only show that the variants compute the same.
Prints JSON: a row for each variant, with seconds and joules of one whole training (uploads and
random weights included, compilation not)."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from clso.baselines.adamw.batches import block_starts
from clso.baselines.adamw.settings import AdamWSettings
from clso.baselines.adamw.trainer import Trainer
from clso.device import resolve_device
from clso.energy import EnergyMeter, open_meter
from clso.models.gpt2 import GPT2, GPT2Config

_PLAIN = "plain-loop"
_VARIANTS: dict[str, dict[str, Any]] = {
    _PLAIN: {},
    "fused-fp32": {"precision": "fp32", "graph": False, "kernels": "eager"},
    "fused-bf16": {"precision": "bf16", "graph": False, "kernels": "eager"},
    "graph-fp32": {"precision": "fp32", "kernels": "eager"},
    "graph-tf32-unpadded": {"precision": "tf32", "kernels": "eager", "pad_to": 1},
    "graph-tf32": {"precision": "tf32", "kernels": "eager"},
    "graph-bf16-unpadded": {"precision": "bf16", "kernels": "eager", "pad_to": 1},
    "graph-bf16": {"precision": "bf16", "kernels": "eager"},
    "compiled-graph-tf32": {"precision": "tf32", "kernels": "compiled"},
    "compiled-graph-bf16-unpadded": {"precision": "bf16", "kernels": "compiled", "pad_to": 1},
    "compiled-graph-bf16": {"precision": "bf16", "kernels": "compiled"},
    "compiled-graph-bf16-tied": {"precision": "bf16", "kernels": "compiled", "tied_head": True},
}
_ON_CPU = (_PLAIN, "fused-fp32", "fused-bf16")


def _plain_loop(
    config: GPT2Config, settings: AdamWSettings, tokens: np.ndarray[Any, Any], device: str
) -> Callable[[], float]:
    """The loop of a tutorial: eager float32, torch's default AdamW, batches sent from the host at
    each step."""

    def train() -> float:
        model = GPT2(config).to(device)
        model.init_weights(torch.Generator(device=device).manual_seed(0))
        optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr[0])
        text = torch.from_numpy(tokens.astype(np.int64))
        starts = block_starts(len(tokens), config.n_positions, settings.steps, settings.batch, 0)
        losses = []
        for row in starts.tolist():
            blocks = torch.stack([text[s : s + config.n_positions + 1] for s in row]).to(device)
            loss = model.token_losses(blocks).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.detach())
        return _end(torch.stack(losses))

    return train


def _end(losses: torch.Tensor) -> float:
    """Mean training loss of the last tenth."""
    return losses[-max(1, len(losses) // 10) :].mean().item()


def _measure(
    name: str, train: Callable[[], float], meter: EnergyMeter, min_window_s: float
) -> dict[str, Any]:
    """Repeat `train`, which waits for the device, in one window of at least `min_window_s`, after a
    warm-up run."""
    train()
    repeats, train_loss = 0, math.nan
    with meter.window(name) as window:
        start_s = time.perf_counter()
        while repeats == 0 or time.perf_counter() - start_s < min_window_s:
            train_loss = train()
            repeats += 1
    energy_j, net_j = window.energy_j, window.energy_net_j
    return {
        "repeats": repeats,
        "time_s": window.time_s / repeats,
        "cpu_time_s": window.cpu_time_s / repeats,
        "energy_j": None if energy_j is None else energy_j / repeats,
        "energy_net_j": None if net_j is None else net_j / repeats,
        "energy_reason": window.reason,
        "window_s": window.time_s,
        "window_too_short": window.short,
        "train_loss": train_loss,
    }


def _variant(
    name: str, args: argparse.Namespace, device: str, meter: EnergyMeter
) -> dict[str, Any]:
    settings = AdamWSettings(lr=(args.lr,), steps=args.steps, batch=args.batch, **_VARIANTS[name])
    config = GPT2Config(
        args.vocab,
        args.positions,
        args.d_model,
        args.layers,
        args.heads,
        tied_head=settings.tied_head,
    )
    rng = np.random.default_rng(0)
    frequencies = 1 / np.arange(1, args.vocab + 1)
    tokens = rng.choice(args.vocab, size=args.tokens, p=frequencies / frequencies.sum()).astype(
        np.uint32
    )
    valid = tokens[: max(args.tokens // 3, args.positions + 1)]
    row: dict[str, Any] = {"variant": name}
    if name == _PLAIN:
        row |= _measure(
            name, _plain_loop(config, settings, tokens, device), meter, args.min_window_s
        )
    else:
        trainer = Trainer(config, settings, device)
        start_s = time.perf_counter()
        trainer.compile(tokens, valid)
        row |= {
            "compile_s": time.perf_counter() - start_s,
            "kernels": trainer.kernels,
            "graph": trainer.graph,
        }

        def train() -> float:
            trainer.reset(0)
            trainer.train(settings.steps)
            return _end(trainer.train_losses())

        row |= _measure(name, train, meter, args.min_window_s)
        for key, score in (("quick_score_s", trainer.quick_score), ("score_s", trainer.score)):
            score()
            start_s = time.perf_counter()
            score()
            row[key] = time.perf_counter() - start_s
    row["step_ms"] = 1000 * row["time_s"] / args.steps
    row["tokens_per_s"] = args.steps * args.batch * args.positions / row["time_s"]
    return row


def _variant_or_error(
    name: str, args: argparse.Namespace, device: str, meter: EnergyMeter
) -> dict[str, Any]:
    try:
        return _variant(name, args, device, meter)
    except Exception as error:  # the other variants' figures must not be lost
        return {"variant": name, "error": f"{type(error).__name__}: {error}"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--variants", default="", help=f"comma-separated, of: {', '.join(_VARIANTS)}"
    )
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--vocab", type=int, default=50257)
    parser.add_argument("--d-model", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--positions", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=282_300, help="length of the text")
    parser.add_argument(
        "--min-window-s", type=float, default=0.0, help="repeat in windows of at least this length"
    )
    parser.add_argument("--idle-s", type=float, default=5.0, help="idle measured before; 0: none")
    parser.add_argument("--energy", default="auto", help="auto, nvml, nvml-sampled, rapl or null")
    args = parser.parse_args()
    device = resolve_device(args.device)
    names = (
        args.variants.split(",")
        if args.variants
        else list(_VARIANTS if device != "cpu" else _ON_CPU)
    )
    if unknown := [name for name in names if name not in _VARIANTS]:
        parser.error(f"unknown variants {', '.join(unknown)}; known: {', '.join(_VARIANTS)}")
    with open_meter(args.energy, device) as meter:
        if args.idle_s and meter.reason is None:
            meter.measure_idle(args.idle_s)
        rows = [_variant_or_error(name, args, device, meter) for name in names]
        report = {
            "device": torch.cuda.get_device_name(device) if device != "cpu" else "cpu",
            "torch": torch.__version__,
            "energy_source": meter.source,
            "energy_reason": meter.reason,
            "idle_w": meter.idle_w,
            "sizes": vars(args),
            "rows": rows,
        }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
