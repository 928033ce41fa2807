"""Tokenizers round-trip any text, BPE training is deterministic, and chunking changes no token."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clso.data.tokenizers as module
from clso.data.tokenizers import (
    BpeTokenizer,
    BytesTokenizer,
    Gpt2Tokenizer,
    TextTokenizer,
    encode_documents,
    parse_tokenizer,
    token_dtype,
    train_bpe,
)
from clso.errors import DataError

_TRAINING = ["the crystal grows and the crystal glows\n" * 20, "def f(x):\n    return x + 1\n" * 20]


@pytest.fixture(scope="module")
def bpe() -> BpeTokenizer:
    return train_bpe(_TRAINING, 300)


@given(text=st.text())
def test_round_trip(bpe: BpeTokenizer, text: str) -> None:
    tokenizers: list[TextTokenizer] = [bpe, BytesTokenizer()]
    for tokenizer in tokenizers:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert all(0 <= i < tokenizer.vocab_size for i in ids)
        assert [batch.tolist() for batch in tokenizer.encode_batch([text])] == [ids]


@pytest.mark.parametrize("limit", [257, 300, 5000])
def test_vocabulary_is_at_most_n(limit: int) -> None:
    assert 256 < train_bpe(_TRAINING, limit).vocab_size <= limit


def test_bpe_training_is_the_same_in_other_processes(bpe: BpeTokenizer) -> None:
    code = (
        f"from clso.data.tokenizers import train_bpe; print(train_bpe({_TRAINING!r}, 300).identity)"
    )
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed}
        out = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert out.stdout.strip() == bpe.identity


def _gpt2() -> Gpt2Tokenizer:
    tokenizer = Gpt2Tokenizer()
    try:
        tokenizer.encode("x")
    except DataError as error:
        pytest.skip(str(error))
    return tokenizer


@pytest.mark.parametrize("kind", ["bpe", "gpt2"])
def test_chunks_and_batches_change_no_token(
    kind: str, bpe: BpeTokenizer, monkeypatch: pytest.MonkeyPatch, text: Callable[[int, int], str]
) -> None:
    tokenizer: TextTokenizer = bpe if kind == "bpe" else _gpt2()
    monkeypatch.setattr(module, "_CHUNK_CHARS", 40)
    monkeypatch.setattr(module, "_BATCH_CHARS", 200)
    texts = [
        text(300, 1),
        "",
        "def f(x):\n\n\n    return  x\n\tit's 12 o'clock\n" * 10,
        " = T = \n\n" * 20,
    ]
    n_tokens: list[int] = []
    batches = list(encode_documents(tokenizer, texts, n_tokens))
    whole = [tokenizer.encode(text) for text in texts]
    assert len(batches) > 10
    assert np.concatenate(batches).tolist() == [i for ids in whole for i in ids]
    assert n_tokens == [len(ids) for ids in whole]


@pytest.mark.parametrize("kind", ["bpe", "gpt2", "bytes"])
def test_every_tokenizer_is_one_of_the_tokenizers_library(
    kind: str, bpe: BpeTokenizer, text: Callable[[int, int], str]
) -> None:
    tokenizer: TextTokenizer = (
        bpe if kind == "bpe" else _gpt2() if kind == "gpt2" else BytesTokenizer()
    )
    theirs = BpeTokenizer(tokenizer.json_text)
    for sample in (
        text(300, 1),
        "a <|endoftext|> b",
        " \r\n\u05e9 \U0001f600 don't  do\n\n\n that  ",
        "\0\x7f\xad",
    ):
        assert theirs.encode(sample) == tokenizer.encode(sample)
        assert theirs.decode(theirs.encode(sample)) == sample


def test_text_without_a_safe_cut_is_still_encoded_whole(bpe: BpeTokenizer) -> None:
    text = "é" * 50_000 + " " * 50_000
    n_tokens: list[int] = []
    ids = np.concatenate(list(encode_documents(bpe, [text], n_tokens)))
    assert bpe.decode(ids.tolist()) == text


def test_gpt2_has_its_published_ids_and_no_special_token() -> None:
    tokenizer = _gpt2()
    assert tokenizer.encode("Hello world") == [15496, 995]
    assert 50256 not in tokenizer.encode("<|endoftext|>")


def test_gpt2_without_its_file_names_the_cache_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiktoken.registry

    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(DataError, match="TIKTOKEN_CACHE_DIR"):
        Gpt2Tokenizer().encode("x")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bpe:256", "whole number from 257"),
        ("bpe:", "whole number"),
        ("bpe", "whole number"),
        ("bpe:-5", "whole number"),
        ("bpe:4k", "whole number"),
        ("bpe:99999999999999", "whole number"),
        ("gpt-2", "Did you mean 'gpt2'"),
        ("byte", "Did you mean 'bytes'"),
        ("bpe4096", "Did you mean 'bpe:4096'"),
        ("", "tokenizer is bpe:N, gpt2 or bytes"),
    ],
)
def test_bad_spec_is_one_clear_line(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse_tokenizer(spec)
    assert "\n" not in str(caught.value)


def test_dtype_is_the_narrowest_that_holds_every_id() -> None:
    assert token_dtype(65_536) == np.uint16
    assert token_dtype(65_537) == np.uint32
