"""`clso generate` and `clso export`: using the model that a run found."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from clso.cli.output import echo, stream

__all__ = ["export", "generate"]

_RUN = click.argument("run", type=click.Path(path_type=Path))


@click.command(short_help="Write text with a run's winner.")
@_RUN
@click.argument("prompt")
@click.option("--tokens", type=click.IntRange(min=0), default=200, show_default=True)
@click.option(
    "--temperature",
    type=float,
    default=0.8,
    show_default=True,
    help="0: always the likeliest token.",
)
@click.option(
    "--top-k", type=int, default=0, show_default=True, help="Of the likeliest tokens only; 0: all."
)
@click.option(
    "--top-p",
    type=float,
    default=1.0,
    show_default=True,
    help="Of the likeliest that reach this probability.",
)
@click.option("--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, show_default=True)
@click.option(
    "-n",
    "n_samples",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Texts, of this seed and those after it.",
)
@click.option("--device", default="cpu", show_default=True)
def generate(
    run: Path,
    prompt: str,
    tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int,
    n_samples: int,
    device: str,
) -> None:
    """Continue PROMPT with the winner of RUN, token by token; a PROMPT of - is read from stdin.

    Equal seeds give equal texts. A context longer than the model's slides."""
    if prompt == "-":
        prompt = sys.stdin.read()
    from clso.errors import ConfigError
    from clso.models.sampling import Sampling

    sampling = Sampling(temperature, top_k, top_p)
    if not prompt:
        raise ConfigError("a prompt has at least one token", got=prompt, remedy="Give some text.")
    from clso.run.finished import Winner

    winner = Winner.open(run, device=device, trim=True)
    for i in range(n_samples):
        stream(("\n\n" if i else "") + prompt)
        for piece in winner.generate(prompt, tokens, sampling, seed=seed + i):
            stream(piece)
    stream("\n")


@click.command(short_help="Write the winner for other tools.")
@_RUN
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["hf"]),
    default="hf",
    show_default=True,
    help="hf: transformers.",
)
@click.option(
    "--push",
    metavar="USER/NAME",
    help="Also upload it to the Hugging Face hub; a new repository is private.",
)
def export(run: Path, folder: Path, kind: str, push: str | None) -> None:
    """Write the winner of RUN to the new FOLDER, for `transformers`: AutoTokenizer,
    AutoModelForCausalLM and pipeline("text-generation", model=FOLDER) load it. A model card says
    what it is."""
    from clso.run.export import export_run, hub_token, push_export

    token = None if push is None else hub_token(push)  # before an hour's upload is prepared
    export_run(run, folder)
    echo(f"wrote {folder}")
    if push is not None and token is not None:
        echo(f"pushed to {push_export(folder, push, token)}")
