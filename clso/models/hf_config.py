"""What a `config.json` of `transformers` asks for: read key by key, so that no setting of a
checkpoint is passed over.

Every key is one of three: part of the sizes, a setting that changes what the model computes (only
values that `GPT2` computes are taken), or one that is known to change nothing in a forward pass
without dropout. Any other is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clso.disk.files import read_regular
from clso.disk.parsing import parse_json
from clso.errors import ConfigError
from clso.models.gpt2 import GPT2Config

__all__ = ["HFConfig", "read_config", "write_config"]

LAYER_NORM_EPSILON = 1e-5
_SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")

# "gelu_new" is tanh-GELU; the others are other spellings of the same formula.
_TANH_GELUS = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")

# Values other than these compute something else.
_REQUIRED: Mapping[str, tuple[Any, ...]] = {
    "activation_function": _TANH_GELUS,
    "layer_norm_epsilon": (LAYER_NORM_EPSILON,),
    "model_type": ("gpt2",),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
    "auto_map": (None,),
}
_FLAGS = ("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "tie_word_embeddings")

# These change training, generation, other heads or memory, not the logits;
# `reorder_and_upcast_attn` changes the precision of float16 attention alone, and here all is
# float32.
_NO_EFFECT_KEYS = """
    _name_or_path _attn_implementation_autoset architectures transformers_version dtype
    torch_dtype attn_pdrop embd_pdrop resid_pdrop initializer_range gradient_checkpointing
    use_cache n_ctx reorder_and_upcast_attn chunk_size_feed_forward torchscript use_bfloat16
    tf_legacy_loss output_attentions output_hidden_states return_dict return_dict_in_generate
    output_scores summary_activation summary_first_dropout summary_proj_to_labels summary_type
    summary_use_proj id2label label2id num_labels problem_type finetuning_task
    task_specific_params prefix bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id
    decoder_start_token_id tokenizer_class is_decoder cross_attention_hidden_size
    tie_encoder_decoder do_sample max_length min_length temperature top_k top_p typical_p
    num_beams num_beam_groups diversity_penalty early_stopping length_penalty repetition_penalty
    no_repeat_ngram_size encoder_no_repeat_ngram_size num_return_sequences bad_words_ids
    forced_bos_token_id forced_eos_token_id remove_invalid_values suppress_tokens
    begin_suppress_tokens exponential_decay_length_penalty
"""
_NO_EFFECT = frozenset(_NO_EFFECT_KEYS.split())


@dataclass(frozen=True)
class HFConfig:
    """A GPT-2's sizes, and how its attention scores are scaled.

    `scale_attn_weights`: by the head size's square root; `scale_attn_by_inverse_layer_idx`: also by
    1 / (layer + 1)."""

    sizes: GPT2Config
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False

    def query_factor(self, layer: int) -> float:
        """What a layer's queries are multiplied by, for a model that only divides by the head
        size's square root."""
        factor = (
            1.0 if self.scale_attn_weights else math.sqrt(self.sizes.d_model // self.sizes.n_heads)
        )
        return factor / (layer + 1) if self.scale_attn_by_inverse_layer_idx else factor


def read_config(path: Path) -> HFConfig:
    """Read `config.json`.

    Raises:
        ConfigError: a setting that `GPT2` does not compute, by its name; impossible sizes.
        OSError, ValueError, KeyError, TypeError, RecursionError: no file, no JSON object, a size
        missing.
    """
    values = parse_json(read_regular(path))
    if not isinstance(values, dict):
        raise TypeError(f"{path.name} is a JSON object")
    sizes = {key: _whole(key, values[key]) for key in _SIZES}
    required = {**_REQUIRED, "n_inner": (None, 4 * sizes["n_embd"])}
    for key, allowed in required.items():
        # By type as well: 1 == True, but a flag that is a number is no flag.
        if key in values and not any(
            type(values[key]) is type(a) and values[key] == a for a in allowed
        ):
            raise _refused(
                path, key, values[key], f"{key} is {' or '.join(map(json.dumps, allowed))}"
            )
    flags = {key: values[key] for key in _FLAGS if key in values}
    for key, value in flags.items():
        if not isinstance(value, bool):
            raise _refused(path, key, value, f"{key} is true or false")
    for key in sorted(set(values) - {*_SIZES, *required, *_FLAGS, *_NO_EFFECT}):
        if values[key] is not None:
            raise _refused(
                path, key, values[key], f"every setting of a GPT-2 is known, and {key} is not"
            )
    return HFConfig(
        GPT2Config(
            vocab_size=sizes["vocab_size"],
            n_positions=sizes["n_positions"],
            d_model=sizes["n_embd"],
            n_layers=sizes["n_layer"],
            n_heads=sizes["n_head"],
            tied_head=flags.pop("tie_word_embeddings", True),
        ),
        **flags,
    )


def _whole(key: str, value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{key} is a whole number, got {value!r:.40}")
    return value


def _refused(path: Path, key: str, value: Any, rule: str) -> ConfigError:
    return ConfigError(
        f"{rule} (GPT-2's own computation is the only one here)",
        problem=f"{path} has {key} = {json.dumps(value)[:80]}",
        remedy="Name another checkpoint; if the key changes nothing in the forward pass, remove it.",
    )


def write_config(sizes: GPT2Config, dtype: str, path: Path) -> None:
    """Write `config.json` for a model with these sizes and tensors of `dtype` ("float32")."""
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": sizes.vocab_size,
        "n_positions": sizes.n_positions,
        "n_embd": sizes.d_model,
        "n_layer": sizes.n_layers,
        "n_head": sizes.n_heads,
        "n_inner": sizes.d_mlp,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": LAYER_NORM_EPSILON,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": sizes.tied_head,
        "bos_token_id": None,
        "eos_token_id": None,
        "dtype": dtype,
    }
    path.write_text(json.dumps(config, indent=2) + "\n")
