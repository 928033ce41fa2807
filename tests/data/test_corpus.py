"""`load_corpus` end to end: splits, packing, cache, hashes, other texts, errors."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from waiting import HANG_S

from clso.data import SPLITS, load_corpus, load_text_tokens
from clso.errors import DataError

_HASH = (
    "import sys; from clso.data import load_corpus; print(load_corpus(*sys.argv[1:3]).content_hash)"
)


def test_default_is_the_standard_library_with_bpe_4096(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clso.data.sources.STDLIB_MAX_BYTES", 1_500_000)  # for speed
    lines: list[str] = []
    corpus = load_corpus(progress=lines.append)
    assert corpus.vocab_size == 4096
    assert any("training bpe:4096" in line for line in lines)
    assert len(corpus.tokens("train")) > 200_000
    assert 0.08 < len(corpus.tokens("fitness")) / len(corpus.tokens("train")) < 0.12
    for split in SPLITS:
        tokens = corpus.tokens(split)
        assert tokens.dtype == np.uint16
        assert tokens.max() < corpus.vocab_size
    lines.clear()
    assert load_corpus(progress=lines.append).content_hash == corpus.content_hash
    assert not any("training" in line for line in lines)


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:300"])
def test_tokens_decode_to_the_texts_of_the_files(cache: Path, folder: Path, tokenizer: str) -> None:
    corpus = load_corpus(f"text:{folder}", tokenizer)
    everything = {path.read_text(encoding="utf-8") for path in folder.rglob("*.txt")}
    found = []
    for split in ("statistics", "fitness", "valid", "test"):
        text = corpus.decode(corpus.tokens(split))
        documents = [document for document in everything if document in text]
        assert sum(map(len, documents)) == len(text)
        assert len(documents) == corpus.n_documents[split]
        found += documents
    assert sorted(found) == sorted(everything)  # each once, in one split
    assert (
        corpus.n_documents["train"]
        == corpus.n_documents["statistics"] + corpus.n_documents["fitness"]
    )


def test_train_is_statistics_and_fitness_in_the_order_of_the_text(
    cache: Path, folder: Path
) -> None:
    corpus = load_corpus(f"text:{folder}", "bytes")
    train = corpus.decode(corpus.tokens("train"))
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*.txt")]
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.txt"))
    ordered = [(folder / name).read_text(encoding="utf-8") for name in names]
    places = [train.find(text) for text in dict.fromkeys(ordered) if text in train]
    assert places == sorted(places)
    assert len(texts) == 41
    parts = len(corpus.tokens("statistics")) + len(corpus.tokens("fitness"))
    assert parts == len(corpus.tokens("train"))


def test_documents_are_joined_by_a_line_end_only_where_it_lacks(
    cache: Path, tmp_path: Path, text: Callable[[int, int], str]
) -> None:
    parts = {
        "train": [text(3000, i).strip() for i in range(8)],
        "valid": [text(500, 90)],
        "test": [text(500, 91)],
    }
    for role, texts in parts.items():
        (tmp_path / "d" / role).mkdir(parents=True)
        for i, document in enumerate(texts):
            (tmp_path / "d" / role / f"{i}.txt").write_text(document, encoding="utf-8")
    corpus = load_corpus(f"text:{tmp_path}/d", "bytes")
    assert corpus.decode(corpus.tokens("train")) == "\n".join(parts["train"])
    assert corpus.decode(corpus.tokens("valid")) == parts["valid"][0]


def test_spec_is_json_and_complete(cache: Path, text_file: Path) -> None:
    corpus = load_corpus(f"text:{text_file}", "bytes")
    spec = json.loads(json.dumps(corpus.spec))
    assert spec == corpus.spec
    assert spec["data"] == f"text:{text_file}"
    assert spec["tokenizer"] == "bytes"
    assert spec["hash"] == corpus.content_hash
    assert spec["n_tokens"] == {split: len(corpus.tokens(split)) for split in SPLITS}
    assert corpus.decode(corpus.encode("énergie")) == "énergie"


def test_two_processes_at_once_and_two_hash_seeds_agree(cache: Path, folder: Path) -> None:
    command = [sys.executable, "-c", _HASH, f"text:{folder}", "bpe:300"]
    workers = [
        subprocess.Popen(
            command,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    hashes = {worker.communicate(timeout=HANG_S)[0].strip() for worker in workers}
    assert hashes == {load_corpus(f"text:{folder}", "bpe:300").content_hash}
    assert not list(cache.rglob("*.tmp"))


def test_hash_changes_with_text_and_tokenizer(cache: Path, folder: Path) -> None:
    first = load_corpus(f"text:{folder}", "bytes").content_hash
    assert load_corpus(f"text:{folder}", "bpe:300").content_hash != first
    (folder / "new.txt").write_text("one more document\n")
    assert load_corpus(f"text:{folder}", "bytes").content_hash != first


def _damage_size(folder: Path) -> None:
    with (folder / "statistics.bin").open("ab") as stream:
        stream.write(b"x")


def _damage_content(folder: Path) -> None:
    data = bytearray((folder / "valid.bin").read_bytes())
    data[7] ^= 1
    (folder / "valid.bin").write_bytes(data)


def _damage_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def _damage_sidecar(folder: Path) -> None:
    (folder / "corpus.json").write_text('{"vocab_size": 300')


def _foreign_sidecar(folder: Path) -> None:
    (folder / "corpus.json").write_text('{"files": {}}')


def _other_count(folder: Path) -> None:
    text = (folder / "corpus.json").read_text()
    (folder / "corpus.json").write_text(text.replace('"vocab_size": 300', '"vocab_size": 301'))


def _remove(folder: Path) -> None:
    (folder / "test.bin").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        _damage_size,
        _damage_content,
        _damage_tokenizer,
        _damage_sidecar,
        _foreign_sidecar,
        _other_count,
        _remove,
    ],
)
def test_damaged_cache_is_rebuilt_with_one_line(
    cache: Path, text_file: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    before = load_corpus(f"text:{text_file}", "bpe:300")
    tokens = {split: before.tokens(split).tolist() for split in SPLITS}
    (sidecar,) = cache.rglob("corpus.json")
    damage(sidecar.parent)
    logging.getLogger("clso").addHandler(caplog.handler)
    try:
        after = load_corpus(f"text:{text_file}", "bpe:300")
    finally:
        logging.getLogger("clso").removeHandler(caplog.handler)
    assert (
        len(
            {record.getMessage() for record in caplog.records if "made anew" in record.getMessage()}
        )
        == 1
    )
    assert after.vocab_size == before.vocab_size
    assert after.content_hash == before.content_hash
    assert {split: after.tokens(split).tolist() for split in SPLITS} == tokens


def test_bpe_is_trained_on_train_only(
    cache: Path, tmp_path: Path, text: Callable[[int, int], str]
) -> None:
    root = tmp_path / "d"
    root.mkdir()
    (root / "train.txt").write_text("\n".join(text(300, i) for i in range(30)), encoding="utf-8")
    identities = set()
    for seed in (50, 60):
        (root / "valid.txt").write_text("zqzqzq " * 200 + text(200, seed), encoding="utf-8")
        (root / "test.txt").write_text("zqzqzqx " * 200 + text(200, seed + 1), encoding="utf-8")
        corpus = load_corpus(f"text:{root}", "bpe:300")
        assert corpus.tokenizer_path is not None
        identities.add(corpus.tokenizer_path.read_bytes())
    assert len(identities) == 1


def test_another_text_uses_the_same_tokenizer(
    cache: Path, folder: Path, tmp_path: Path, text: Callable[[int, int], str]
) -> None:
    corpus = load_corpus(f"text:{folder}", "bpe:300")
    other = tmp_path / "other.txt"
    other.write_text("\n".join(text(300, i + 500) for i in range(40)), encoding="utf-8")
    for _ in range(2):  # built, then from the cache
        tokens = load_text_tokens(corpus, f"text:{other}")
        assert set(tokens) == set(SPLITS)
        whole = "".join(corpus.decode(tokens[split]) for split in ("train", "valid", "test"))
        assert whole.replace("\n", "") == other.read_text(encoding="utf-8").replace("\n", "")
    own = load_text_tokens(corpus, f"text:{folder}")
    assert all(np.array_equal(own[split], corpus.tokens(split)) for split in SPLITS)


def test_one_line_is_fine_if_long_enough(
    cache: Path, tmp_path: Path, text: Callable[[int, int], str]
) -> None:
    path = tmp_path / "line.txt"
    line = text(3000, 1).replace("\n", " ")
    path.write_text(line, encoding="utf-8")
    corpus = load_corpus(f"text:{path}", "bytes")
    parts = [
        corpus.decode(corpus.tokens(split)).replace("\n", "")
        for split in ("train", "valid", "test")
    ]
    assert "".join(parts) == line


@pytest.mark.parametrize(
    "content", ["one short line", "some words\n" * 300, "same line\n" * 100_000]
)
def test_too_short_text_says_what_there_is_and_what_is_needed(
    cache: Path, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "short.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=r"every split needs 258 tokens.*\d+ tokens") as caught:
        load_corpus(f"text:{path}", "bpe:300")
    assert "\n" not in str(caught.value)


def test_the_length_asked_for_is_above_the_one_given(cache: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=5)) for _ in range(200)]
    whole = "\n".join(" ".join(rng.choices(words, k=rng.choice([3, 60, 160]))) for _ in range(300))
    path, refused = tmp_path / "t.txt", 0
    for n in range(500, 8000, 500):
        path.write_text(whole[:n])
        try:
            load_corpus(f"text:{path}", "bytes")
        except DataError as error:
            refused += 1
            said = re.search(r"got '(\d+) tokens'.*about (\d+)", str(error))
            assert said is not None
            given, asked = map(int, said.groups())
            assert asked > given
    assert refused


def test_a_given_split_that_is_too_short_is_named(
    cache: Path, tmp_path: Path, text: Callable[[int, int], str]
) -> None:
    for seed, (role, n) in enumerate({"train": 3000, "valid": 500, "test": 9}.items()):
        (tmp_path / f"{role}.txt").write_text(text(n, seed), encoding="utf-8")
    with pytest.raises(DataError, match="Give a longer test text"):
        load_corpus(f"text:{tmp_path}", "bytes")


def test_the_manifest_counts_what_was_left_out(cache: Path, folder: Path) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.txt").write_bytes("déjà vu".encode("latin-1"))
    for _ in range(2):  # made, and from the cache
        spec = load_corpus(f"text:{folder}", "bytes").spec
        assert spec["n_files"] == 41
        assert spec["left_out"]["not UTF-8"] == 2
        assert sum(spec["left_out"].values()) == 3


def test_unknown_split_suggests_the_nearest(cache: Path, text_file: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'fitness'"):
        load_corpus(f"text:{text_file}", "bytes").tokens("fitnes")


def test_cache_that_cannot_be_written(tmp_path: Path, text_file: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="CLSO_CACHE"):
        load_corpus(f"text:{text_file}", "bytes", cache_dir=tmp_path / "file")


def test_wikitext_proxy_tokens_are_those_of_the_whole_files(cache: Path) -> None:
    root = os.environ.get("CLSO_TEST_DATA")
    if not root or not Path(root, "wikitext103-proxy").is_dir():
        pytest.skip("CLSO_TEST_DATA names no folder that holds wikitext103-proxy")
    import tiktoken

    corpus = load_corpus(f"text:{root}/wikitext103-proxy", "gpt2")
    encoding = tiktoken.get_encoding("gpt2")
    for split in ("train", "valid", "test"):
        text = Path(root, "wikitext103-proxy", f"{split}.txt").read_bytes().decode()
        assert corpus.tokens(split).tolist() == encoding.encode_ordinary(text)
    assert len(corpus.tokens("train")) == 282_300
    assert corpus.n_documents["train"] == 62
    assert 0.08 < len(corpus.tokens("fitness")) / 282_300 < 0.12


def test_documents_have_lengths(cache: Path, folder: Path) -> None:
    corpus = load_corpus(f"text:{folder}", "bytes")
    for split in SPLITS:
        lengths = corpus.document_lengths(split)
        assert len(lengths) == corpus.n_documents[split]
        assert sum(lengths) == len(corpus.tokens(split))
    files = {path.read_text(encoding="utf-8").rstrip() for path in folder.rglob("*.txt")}
    at = 0
    for n in corpus.document_lengths("valid"):
        assert corpus.decode(corpus.tokens("valid")[at : at + n]).rstrip() in files
        at += n
    with pytest.raises(DataError, match="split is one of"):
        corpus.document_lengths("dev")


def test_a_cache_from_before_documents_had_lengths_is_made_anew(cache: Path, folder: Path) -> None:
    corpus = load_corpus(f"text:{folder}", "bytes")
    (sidecar,) = cache.rglob("corpus.json")
    old = json.loads(sidecar.read_text())
    del old["files"]["documents.json"]
    sidecar.write_text(json.dumps(old))
    (sidecar.parent / "documents.json").unlink()
    again = load_corpus(f"text:{folder}", "bytes")
    assert again.content_hash == corpus.content_hash
    assert sum(again.document_lengths("test")) == len(again.tokens("test"))
