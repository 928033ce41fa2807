"""Tokenizers: `bpe:N` (byte-level BPE trained on the corpus), `gpt2` (tiktoken) and `bytes`.

Byte-level BPE is that of Radford et al. (2019), "Language Models are Unsupervised Multitask
Learners", section 2.2. All three encode any text and none inserts special tokens."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

from clso.data.byte_level import byte_level_json
from clso.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import tiktoken
    import tokenizers

__all__ = [
    "BpeTokenizer",
    "BytesTokenizer",
    "Gpt2Tokenizer",
    "TextTokenizer",
    "TokenizerSpec",
    "encode_documents",
    "parse_tokenizer",
    "token_dtype",
    "train_bpe",
]

Ids = npt.NDArray[np.unsignedinteger]

MIN_BPE_VOCAB = 257
MAX_BPE_VOCAB = 1_000_000
_CHUNK_CHARS = 1 << 12  # short chunks keep both cores busy and halve the time of long ones
_BATCH_CHARS = 1 << 20

# Places where GPT-2's pre-tokenizer always divides: before " word", and after a lone line end
# before a word.
_SAFE_CUT = re.compile(r"(?<=\S)(?= \S)|(?<=\S\n)(?=\S)")


class TextTokenizer(Protocol):
    """What the corpus needs of a tokenizer. Equal `identity` means equal tokens for every text."""

    @property
    def identity(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def json_text(self) -> str: ...
    def encode(self, text: str) -> list[int]: ...
    def encode_batch(self, texts: Sequence[str]) -> list[Ids]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True)
class TokenizerSpec:
    """A parsed SPEC; `vocab_size` is the upper limit for "bpe" and exact otherwise."""

    kind: Literal["bpe", "gpt2", "bytes"]
    vocab_size: int


def parse_tokenizer(spec: str) -> TokenizerSpec:
    """Parse `bpe:N`, `gpt2` or `bytes`.

    Raises:
        DataError: unknown name, N not a whole number or out of range.
    """
    if spec == "gpt2":
        return TokenizerSpec("gpt2", 50_257)
    if spec == "bytes":
        return TokenizerSpec("bytes", 256)
    kind, _, size = spec.partition(":")
    if kind == "bpe":
        if size.isdecimal() and MIN_BPE_VOCAB <= int(size) <= MAX_BPE_VOCAB:
            return TokenizerSpec("bpe", int(size))
        rule = f"N of bpe:N is a whole number from {MIN_BPE_VOCAB} (256 bytes and a merge) to {MAX_BPE_VOCAB}"
        raise DataError(rule, got=spec, remedy="The default is bpe:4096")
    remedy = did_you_mean(spec, ("bpe:4096", "gpt2", "bytes"))
    raise DataError("tokenizer is bpe:N, gpt2 or bytes", got=spec, remedy=remedy)


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    """uint16 if it holds every id, else uint32; little-endian, so that token files are
    portable."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


class BytesTokenizer:
    """UTF-8 bytes as ids 0..255."""

    identity = "bytes"
    vocab_size = 256

    @property
    def json_text(self) -> str:
        return byte_level_json([bytes([b]) for b in range(256)])

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        return [np.frombuffer(text.encode(), dtype=np.uint8) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


class Gpt2Tokenizer:
    """OpenAI's GPT-2 BPE; the text `<|endoftext|>` is text, never the special token.

    Raises:
        DataError: at first use, if tiktoken's vocabulary file is neither cached nor to be
        downloaded.
    """

    identity = "gpt2"
    vocab_size = 50_257

    @cached_property
    def _encoding(self) -> tiktoken.Encoding:
        import tiktoken

        try:
            return tiktoken.get_encoding("gpt2")
        # tiktoken lets its HTTP library's and the system's errors through
        except Exception as error:
            raise DataError(
                "the gpt2 tokenizer needs its vocabulary",
                problem=f"it cannot be had ({type(error).__name__})",
                remedy="Set TIKTOKEN_CACHE_DIR to a folder that holds it, connect once, or use bpe:4096",
            ) from error

    @property
    def json_text(self) -> str:
        # All but <|endoftext|>, the last.
        return byte_level_json(
            [self._encoding.decode_single_token_bytes(i) for i in range(self._encoding.eot_token)]
        )

    def encode(self, text: str) -> list[int]:
        return self._encoding.encode_ordinary(text)

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        return [
            np.asarray(ids, np.uint16) for ids in self._encoding.encode_ordinary_batch(list(texts))
        ]

    def decode(self, ids: Sequence[int]) -> str:
        return self._encoding.decode(ids)


class BpeTokenizer:
    """A byte-level BPE held as the JSON text of the `tokenizers` library, which is loaded at first
    use."""

    def __init__(self, json_text: str) -> None:
        self.json_text = json_text
        self.identity = "bpe:" + hashlib.sha256(json_text.encode()).hexdigest()

    @cached_property
    def _backend(self) -> tokenizers.Tokenizer:
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.json_text)

    @cached_property
    def vocab_size(self) -> int:
        return int(self._backend.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(encoding.ids, np.uint32) for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._backend.decode(list(ids), skip_special_tokens=False))


def train_bpe(texts: Iterable[str], vocab_size: int) -> BpeTokenizer:
    """Train byte-level BPE with at most `vocab_size` tokens; pairs seen once are never merged.

    Deterministic: the same texts give the same JSON whatever the number of threads or
    PYTHONHASHSEED."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    chunks = (chunk for text in texts for chunk in _chunks(text))
    tokenizer.train_from_iterator(chunks, trainer=trainer)
    return BpeTokenizer(str(tokenizer.to_str()))


def encode_documents(
    tokenizer: TextTokenizer, texts: Iterable[str], n_tokens: list[int]
) -> Iterator[Ids]:
    """Tokens of `texts` in order, in batches of about a megabyte so that memory stays bounded.

    `n_tokens` receives the number of tokens of each text.
    """
    batch: list[str] = []
    owners: list[int] = []
    n_chars = 0
    for text in texts:
        n_tokens.append(0)
        for chunk in _chunks(text):
            batch.append(chunk)
            owners.append(len(n_tokens) - 1)
            n_chars += len(chunk)
            if n_chars >= _BATCH_CHARS:
                yield _encode_batch(tokenizer, batch, owners, n_tokens)
                batch, owners, n_chars = [], [], 0
    if batch:
        yield _encode_batch(tokenizer, batch, owners, n_tokens)


def _encode_batch(
    tokenizer: TextTokenizer, batch: list[str], owners: list[int], n_tokens: list[int]
) -> Ids:
    encoded = tokenizer.encode_batch(batch)
    for owner, ids in zip(owners, encoded, strict=True):
        n_tokens[owner] += len(ids)
    return np.concatenate(encoded)


def _chunks(text: str) -> Iterator[str]:
    """Cut a long text if the cut changes no token; text without any such place is cut hard,
    rather than handed whole to tokenizers whose time and stack grow with the length of an unbroken
    run."""
    start = 0
    while len(text) - start > 2 * _CHUNK_CHARS:
        cut = _SAFE_CUT.search(text, start + _CHUNK_CHARS, start + 2 * _CHUNK_CHARS)
        end = cut.start() if cut else start + 2 * _CHUNK_CHARS
        yield text[start:end]
        start = end
    yield text[start:]
