"""`load_corpus`: a data SPEC and a tokenizer SPEC -> memory-mapped tokens of five splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clso.data.cache import Sidecar, cache_folder, read_sidecar, write_errors, write_sidecar
from clso.data.documents import Document
from clso.data.sources import Progress, Source, read_source
from clso.data.splits import SPLITTER_VERSION, choose_fitness, fitness_share, split_source
from clso.data.tokenfile import map_tokens, write_tokens
from clso.data.tokenizers import (
    BpeTokenizer,
    BytesTokenizer,
    Gpt2Tokenizer,
    TextTokenizer,
    TokenizerSpec,
    encode_documents,
    parse_tokenizer,
    token_dtype,
    train_bpe,
)
from clso.disk.files import FileCheck, write_bytes
from clso.errors import DataError, did_you_mean

__all__ = [
    "MIN_SPLIT_TOKENS",
    "SPLITS",
    "Corpus",
    "load_corpus",
    "load_other",
    "load_text_tokens",
]

SPLITS = ("statistics", "fitness", "train", "valid", "test")
_DOCUMENTS = "documents.json"  # tokens of each document, by split
MIN_SPLIT_TOKENS = 2 * 129  # two blocks of 128 positions with their targets

Tokens = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Corpus:
    """Tokens of one text under one tokenizer.

    Attributes:
        vocab_size: number of token ids (for `bpe:N` at most N).
        n_documents: documents by split. A document lies in one of statistics, fitness, valid and
        test.
        content_hash: SHA-256 (hex) of the tokens of every split and the tokenizer's identity.
        spec: data, tokenizer, hash, vocabulary, tokens and documents by split, files read and left
            out (by the reason); JSON-able, for a manifest.
        tokenizer_path: the trained tokenizer's JSON (`bpe:N`), else None.
    """

    vocab_size: int
    n_documents: dict[str, int]
    content_hash: str
    spec: dict[str, Any]
    tokenizer_path: Path | None
    _folder: Path = field(repr=False)
    _tokenizer: TextTokenizer = field(repr=False)

    def tokens(self, split: str) -> Tokens:
        """Ids of a split of `SPLITS`: 1-D, read-only memory map, uint16 if every id fits, else
        uint32.

        "train" is statistics and fitness together, in the order of the text.

        Raises:
            DataError: no such split.
        """
        if split not in SPLITS:
            remedy = did_you_mean(split, SPLITS)
            raise DataError(f"split is one of {', '.join(SPLITS)}", got=split, remedy=remedy)
        return map_tokens(self._folder / f"{split}.bin", token_dtype(self.vocab_size))

    def document_lengths(self, split: str) -> list[int]:
        """Tokens of each document of a split, in the order of `tokens(split)`; their sum is its length.

        Raises:
            DataError: no such split.
        """
        self.tokens(split)  # the check
        found: list[int] = json.loads((self._folder / _DOCUMENTS).read_bytes())[split]
        return found

    def encode(self, text: str) -> list[int]:
        """Ids of `text`; nothing is added."""
        return self._tokenizer.encode(text)

    @property
    def tokenizer_json(self) -> str:
        """The tokenizer, of any kind, as the `tokenizers` library and `transformers` read it."""
        return self._tokenizer.json_text

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`; bytes that are no UTF-8 become U+FFFD."""
        return self._tokenizer.decode([int(i) for i in ids])


def load_corpus(
    data: str = "python-stdlib",
    tokenizer: str = "bpe:4096",
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Read a text, split it (see `clso.data.splits`), tokenize it, and cache the tokens by content
    hash.

    Args:
        data: `python-stdlib`, `text:PATH`, `wikitext-103` or `wikitext-2`.
        tokenizer: `bpe:N` (trained on the train split only), `gpt2` or `bytes`.
        cache_dir: where token files are kept; $CLSO_CACHE or ~/.cache/clso if None.
        progress: receives one line a step.

    Raises:
        DataError: bad SPEC, unusable or too short text, cache that cannot be written.
        MissingDependencyError: a hub data set without the optional extra.
    """
    report = progress or _silent
    wanted = parse_tokenizer(tokenizer)
    return _load(read_source(data, report), data, tokenizer, wanted, cache_dir, report)


def load_text_tokens(
    corpus: Corpus, data_spec: str, progress: Progress | None = None
) -> dict[str, Tokens]:
    """Tokens of another text under `corpus`'s tokenizer, for every split of `SPLITS`; see `load_other`.

    Raises:
        DataError: as `load_corpus`.
    """
    other = load_other(corpus, data_spec, progress)
    return {split: other.tokens(split) for split in SPLITS}


def load_other(corpus: Corpus, data_spec: str, progress: Progress | None = None) -> Corpus:
    """Another text under `corpus`'s tokenizer, cached beside it.

    `progress` receives one line a step, among them what was left out of the text.

    Raises:
        DataError: as `load_corpus`.
    """
    cache_dir = corpus._folder.parent.parent
    report = progress or _silent
    source = read_source(data_spec, report)
    return _load(source, data_spec, corpus.spec["tokenizer"], corpus._tokenizer, cache_dir, report)


def _silent(_: str) -> None:
    pass


def _load(
    source: Source,
    data: str,
    tokenizer_name: str,
    wanted: TokenizerSpec | TextTokenizer,
    cache_dir: str | Path | None,
    report: Progress,
) -> Corpus:
    key = _cache_key(
        source, tokenizer_name if isinstance(wanted, TokenizerSpec) else wanted.identity
    )
    folder = cache_folder(cache_dir, key)
    sidecar = read_sidecar(folder)
    if (
        sidecar is None or _DOCUMENTS not in sidecar.files
    ):  # the latter was written before documents had lengths
        sidecar = _build(source, folder, wanted, report)
    json_path = folder / "tokenizer.json"
    tokenizer: TextTokenizer
    if not isinstance(wanted, TokenizerSpec):
        tokenizer = wanted
    elif wanted.kind == "bpe":
        tokenizer = BpeTokenizer(json_path.read_text(encoding="utf-8"))
    else:
        tokenizer = fixed_tokenizer(wanted)
    return Corpus(
        vocab_size=sidecar.vocab_size,
        n_documents=dict(sidecar.n_documents),
        content_hash=sidecar.content_hash,
        spec={
            "data": data,
            "tokenizer": tokenizer_name,
            "hash": sidecar.content_hash,
            "vocab_size": sidecar.vocab_size,
            "n_tokens": dict(sidecar.n_tokens),
            "n_documents": dict(sidecar.n_documents),
            "n_files": len(source.files),
            "left_out": {reason: len(names) for reason, names in source.left_out.items()},
            "notes": list(source.notes),
        },
        tokenizer_path=json_path if "tokenizer.json" in sidecar.files else None,
        _folder=folder,
        _tokenizer=tokenizer,
    )


def _cache_key(source: Source, tokenizer_name: str) -> str:
    digest = hashlib.sha256(
        f"{SPLITTER_VERSION} {tokenizer_name} {source.layout} {source.whole_files}".encode()
    )
    for file in source.files:
        digest.update(f"\0{file.role} {len(file.data)} ".encode())
        digest.update(file.data)
    return digest.hexdigest()


def fixed_tokenizer(spec: TokenizerSpec) -> TextTokenizer:
    return Gpt2Tokenizer() if spec.kind == "gpt2" else BytesTokenizer()


def _build(
    source: Source, folder: Path, wanted: TokenizerSpec | TextTokenizer, report: Progress
) -> Sidecar:
    splits = split_source(source, report)
    tokenizer = _make_tokenizer(splits["train"], wanted, report)
    dtype = token_dtype(tokenizer.vocab_size)
    files: dict[str, FileCheck] = {}
    sizes: dict[str, list[int]] = {}
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for split, documents in splits.items():
            report(f"encoding {split}: {len(documents)} documents")
            sizes[split] = []
            batches = encode_documents(tokenizer, _texts(documents), sizes[split])
            files[f"{split}.bin"] = write_tokens(folder / f"{split}.bin", batches, dtype)
        chosen = choose_fitness(sizes["train"], fitness_share(sum(sizes["train"])))
        for split, flag in (("statistics", False), ("fitness", True)):
            sizes[split] = [
                n
                for n, is_fitness in zip(sizes["train"], chosen, strict=True)
                if is_fitness is flag
            ]
        n_tokens = {split: sum(sizes[split]) for split in SPLITS}
        _require_enough(n_tokens, given=source.layout == "splits")
        train = map_tokens(folder / "train.bin", dtype)
        for split, flag in (("statistics", False), ("fitness", True)):
            parts = _runs(train, sizes["train"], chosen, flag)
            files[f"{split}.bin"] = write_tokens(folder / f"{split}.bin", parts, dtype)
        files[_DOCUMENTS] = write_bytes(folder / _DOCUMENTS, json.dumps(sizes).encode())
        if isinstance(wanted, TokenizerSpec) and isinstance(tokenizer, BpeTokenizer):
            files["tokenizer.json"] = write_bytes(
                folder / "tokenizer.json", tokenizer.json_text.encode()
            )
        sidecar = Sidecar(
            vocab_size=tokenizer.vocab_size,
            content_hash=_content_hash(tokenizer, files),
            n_documents={split: len(sizes[split]) for split in SPLITS},
            n_tokens=n_tokens,
            files=files,
        )
        write_sidecar(folder, sidecar)
    return sidecar


def _make_tokenizer(
    train: list[Document], wanted: TokenizerSpec | TextTokenizer, report: Progress
) -> TextTokenizer:
    if not isinstance(wanted, TokenizerSpec):
        return wanted
    if wanted.kind != "bpe":
        return fixed_tokenizer(wanted)
    report(f"training bpe:{wanted.vocab_size} on {sum(map(len, train)) / 1e6:.1f} MB of train text")
    return train_bpe(_texts(train), wanted.vocab_size)


def _texts(documents: list[Document]) -> Iterator[str]:
    """Texts to be packed: a line end is added only if a document is followed by another and
    lacks it."""
    for i, document in enumerate(documents):
        text = document.text
        yield text if i == len(documents) - 1 or text.endswith("\n") else text + "\n"


def _runs(tokens: Tokens, sizes: list[int], chosen: list[bool], flag: bool) -> Iterator[Tokens]:
    start = 0
    for size, is_fitness in zip(sizes, chosen, strict=True):
        if is_fitness is flag:
            yield tokens[start : start + size]
        start += size


def _require_enough(n_tokens: dict[str, int], *, given: bool) -> None:
    """`given`: valid and test are files of their own, so that more text elsewhere helps them
    nothing."""
    short = [split for split in SPLITS if n_tokens[split] < MIN_SPLIT_TOKENS]
    if not short:
        return
    counts = ", ".join(f"{split} {n_tokens[split]}" for split in SPLITS if split != "train")
    total = n_tokens["train"] + n_tokens["valid"] + n_tokens["test"]
    if given:
        named = (
            " and ".join(split for split in ("train", "valid", "test") if split in short) or "train"
        )
        remedy = f"Give a longer {named} text: no text of another split counts"
    else:
        # As much more as the shortest split lacks, and a tenth for the documents that cuts do not
        # divide.
        shortest = max(1, min(n_tokens.values()))
        grown = min(total * MIN_SPLIT_TOKENS // shortest, 4 * total)
        bound = max(20 * MIN_SPLIT_TOKENS, grown) * 11 // 10
        remedy = f"Give a text of about {bound} tokens or more that do not repeat"
    in_all = f"{total} tokens"
    raise DataError(
        f"every split needs {MIN_SPLIT_TOKENS} tokens",
        problem=f"the text without what repeats is too short ({counts})",
        got=in_all,
        remedy=remedy,
    )


def _content_hash(tokenizer: TextTokenizer, files: dict[str, FileCheck]) -> str:
    tokens = {split: files[f"{split}.bin"].sha256 for split in SPLITS}
    identity = {
        "tokenizer": tokenizer.identity,
        "vocab_size": tokenizer.vocab_size,
        "tokens": tokens,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
