"""What an export's README.md says: a model card as the Hugging Face hub reads it."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clso.run.finished import Winner

__all__ = ["model_card"]

_USE = """```python
from transformers import pipeline

pipeline("text-generation", model=FOLDER)({prompt!r}, max_new_tokens=20)
```"""

_USE_MIXTURE = """The folder holds a GPT-2 and a counted memory; the losses below are those of both together, which is no
GPT-2. `transformers` alone reads the GPT-2 part, **a model with a higher loss**. With
`pip install "clso[hf]"`:

```python
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from clso.hf import ClsoMemory

model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
inputs = tokenizer({prompt!r}, return_tensors="pt")
out = model.generate(**inputs, logits_processor=[ClsoMemory.from_pretrained(FOLDER)], max_new_tokens=20)
print(tokenizer.decode(out[0]))
```"""

_TEXT = """
# {title}

A small language model that was searched for by evolution over structured matrices, not trained by
gradients, with CLSO {version}: space `{space}`, {n_params:,} parameters, {vocab_size:,} tokens,
a context of {n_positions}.

## Use

{use}

## Data and loss

Text: `{data}`. Tokenizer: `{tokenizer}`.

| split | nats per token | what it was for |
|---|---:|---|
{losses}

Losses are in nats per token of this tokenizer, measured on all of the split by the winner as it
stands on disk. Knowing nothing, it would be {log_vocabulary:.4f}.

## Energy

{energy}

## Genome

| gene | allele |
|---|---|
{genome}

## Limits

- It is as small as the figures say, and knows nothing but its one text: no facts, no instructions, no dialogue.
- At most {n_positions} tokens of context. `clso generate` slides beyond it, `transformers` stops there.
- Whatever the text holds, biases and errors included, may come out again, in parts word for word.
- The licence of the text is not known to CLSO, so that of this model is not stated either.
"""

_PURPOSES = {"valid": "chose the winner", "test": "read once, for the report"}


def model_card(winner: Winner, *, is_mixture: bool) -> str:
    """The card of a winner as it is exported, with its metadata: Markdown."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    config, result = winner.folder.config, winner.folder.read_result()
    best = result["best"]
    title = f"clso-{_cell(config.space.rpartition(':')[2])}"
    losses = {split: best[f"{split}_loss"] for split in _PURPOSES if f"{split}_loss" in best}
    data = _public(config.data)
    metadata = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-generation",
        license="unknown",
        tags=["clso", "gpt2", "evolutionary-search"],
        model_name=title,
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=data.partition(":")[0],
                dataset_name=data,
                dataset_split=split,
                metric_type="loss",
                metric_name="nats per token",
                metric_value=loss,
            )
            for split, loss in losses.items()
        ],
    )
    sizes, off = winner.model.config, best.get("inactive", ())
    text = _TEXT.format(
        title=title,
        version=version("clso"),
        space=_cell(config.space.rpartition("/")[2]),
        n_params=sum(p.numel() for p in winner.model.parameters()),
        vocab_size=sizes.vocab_size,
        n_positions=sizes.n_positions,
        use=(_USE_MIXTURE if is_mixture else _USE).format(prompt="def "),
        data=_cell(data),
        tokenizer=config.tokenizer,
        losses=_rows((f"{s} | {loss:.4f}", _PURPOSES[s]) for s, loss in losses.items()),
        log_vocabulary=result["log_vocabulary"],
        energy=_energy(result),
        genome=_rows((k, _cell(v)) for k, v in best.get("alleles", {}).items() if k not in off),
    )
    return str(ModelCard(f"---\n{metadata.to_yaml()}\n---\n{text}"))


def _public(data: str) -> str:
    """The text's name without the folders that it lies in, which are the author's own affair."""
    kind, _, path = data.partition(":")
    return f"{kind}:{path.rstrip('/').rpartition('/')[2]}" if path else data


def _rows(pairs: Any) -> str:
    return "\n".join(f"| {left} | {right} |" for left, right in pairs)


def _cell(text: str) -> str:
    """Text of others in a table: one line, no borders."""
    return " ".join(text.replace("|", "\\|").split())


def _energy(result: dict[str, Any]) -> str:
    energy = result["energy_j"]
    if energy is None:
        return f"Not measured: {_cell(result['energy_reason'])}."
    net = energy["net"]["total"]
    beyond = "" if net is None else f", {net:,.1f} J beyond idling"
    return f"The whole run took {energy['gross']['total']:,.1f} J{beyond}, measured by {energy['source']}."
