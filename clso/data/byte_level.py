"""A byte-level vocabulary in the form that the `tokenizers` library reads, with the merges found
from the tokens' ranks."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["byte_level_json"]


def byte_level_json(tokens: Sequence[bytes]) -> str:
    """The `tokenizers` library's JSON of a byte-level BPE with these tokens, which rank in the
    order of their ids."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    ranks = {token: i for i, token in enumerate(tokens)}
    merges = [_last_merge(token, ranks) for token in ranks if len(token) > 1]
    model = models.BPE(
        vocab={_written(token): i for token, i in ranks.items()},
        merges=[(_written(left), _written(right)) for left, right in merges],
    )
    tokenizer = Tokenizer(model)
    # Bytes that never merge need no words, and keep a text's runs of white space as they are.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=bool(merges)
    )
    tokenizer.decoder = decoders.ByteLevel()
    return str(tokenizer.to_str())


def _last_merge(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens that BPE joins last on its way to `token`."""
    parts = [bytes([b]) for b in token]
    while len(parts) > 2:
        pairs = [ranks.get(parts[i] + parts[i + 1], len(ranks) + 1) for i in range(len(parts) - 1)]
        i = pairs.index(min(pairs))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts[0], parts[1]


def _alphabet() -> list[str]:
    """GPT-2's character for each byte: itself if it is printable and no space, else the next above
    255."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)}
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


_CHARACTERS = _alphabet()


def _written(token: bytes) -> str:
    return "".join(_CHARACTERS[b] for b in token)
