"""Token files and the text dataset. The user's own corpus: test_dataset_corpus.py."""

import hashlib
import itertools
import struct

import numpy as np
import pytest
from tokenizers import Tokenizer

from dataset_cases import QUIET, write_corpus
from dataset_cases import text_params as params
from yocobench.bench.data import digest, read_manifest, subset_items
from yocobench.bench.data.text import TokenFile, header, windows
from yocobench.datasets import corpus, text
from yocobench.datasets.corpus import Document
from yocobench.schema import Subset


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    manifest = text.build(params(write_corpus(folder / "corpus")), folder / "data" / "text", QUIET)
    return folder / "data" / "text", manifest


def names(documents):
    return [document.name for document in documents]


# --- the format -------------------------------------------------------------------------------------------------


def token_file(path, tokens, vocab_size=300):
    path.write_bytes(header(vocab_size, len(tokens)) + np.array(tokens, dtype="<u2").tobytes())
    return path


def test_a_token_file_is_a_64_byte_header_and_two_bytes_per_token(tmp_path):
    path = token_file(tmp_path / "a.bin", [1, 258, 3])
    content = path.read_bytes()
    assert content[:8] == b"YOCOTOKS"
    assert struct.unpack("<IIQQ", content[8:32]) == (1, 2, 300, 3)
    assert content[32:64] == bytes(32)
    assert content[64:] == b"\x01\x00\x02\x01\x03\x00"
    opened = TokenFile.open(path)
    assert opened.tokens.tolist() == [1, 258, 3]
    assert opened.vocab_size == 300


def test_a_cut_token_file_is_refused_with_the_offset(tmp_path):
    path = token_file(tmp_path / "a.bin", [1, 2, 3])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"a\.bin is cut short: it ends at byte 69, its 3 tokens end at byte 70"):
        TokenFile.open(path)
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(ValueError, match="ends at byte 10, inside its 64-byte header"):
        TokenFile.open(path)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [(0, b"X", "byte 0 starts"), (8, b"\x07", "layout version 7 at byte 8"), (12, b"\x04", "4 bytes per token")],
)
def test_a_file_of_another_format_is_refused(tmp_path, at, value, message):
    path = token_file(tmp_path / "a.bin", [1])
    content = path.read_bytes()
    path.write_bytes(content[:at] + value + content[at + 1 :])
    with pytest.raises(ValueError, match=message):
        TokenFile.open(path)


def test_missing_and_empty_token_files_say_so(tmp_path):
    with pytest.raises(ValueError, match="dvc repro dataset@text"):
        TokenFile.open(tmp_path / "none.bin")
    with pytest.raises(ValueError, match="holds no tokens"):
        TokenFile.open(token_file(tmp_path / "a.bin", []))


def test_windows_cover_every_piece_once_an_epoch_in_an_order_fixed_by_the_seed():
    tokens = np.arange(41, dtype=np.uint16)
    first = list(itertools.islice(windows(tokens, 10, 2, seed=5), 6))
    again = list(itertools.islice(windows(tokens, 10, 2, seed=5), 6))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert first[0].shape == (2, 11)
    assert first[0].dtype == np.int64
    for row in np.concatenate(first):
        assert row.tolist() == list(range(row[0], row[0] + 11))
    # 31 possible starts, every tenth from a random phase: 3 or 4 windows an epoch, at most 30 is the last start.
    assert max(row[0] for batch in first for row in batch) <= 30
    other = next(windows(tokens, 10, 2, seed=6))
    assert other.tolist() != first[0].tolist()


def test_a_split_of_exactly_one_window_is_enough_and_one_token_less_is_not():
    assert next(windows(np.arange(11, dtype=np.uint16), 10, 1, seed=0)).tolist() == [list(range(11))]
    with pytest.raises(ValueError, match="10 tokens are too few for a sequence of 10: 11 are needed"):
        windows(np.arange(10, dtype=np.uint16), 10, 1, seed=0)


# --- building ---------------------------------------------------------------------------------------------------


def test_the_same_corpus_gives_the_same_bytes(built, tmp_path):
    folder, _ = built
    text.build(params(folder.parent.parent / "corpus"), tmp_path / "text", QUIET)
    for name in ("manifest.json", "tokenizer.json", "train.bin", "heldout.bin"):
        assert (tmp_path / "text" / name).read_bytes() == (folder / name).read_bytes(), name


def test_the_manifest_counts_what_is_there(built):
    folder, manifest = built
    train, heldout = TokenFile.open(folder / "train.bin"), TokenFile.open(folder / "heldout.bin")
    assert (manifest.train_items, manifest.heldout_items) == (len(train.tokens), len(heldout.tokens))
    assert manifest.train_documents + manifest.heldout_documents == 8
    assert manifest.source == "corpus (8 files)"
    assert manifest.vocab_size == train.vocab_size == 300
    assert manifest.files_md5["train.bin"] == hashlib.md5((folder / "train.bin").read_bytes()).hexdigest()
    assert str(folder.parent) not in (folder / "manifest.json").read_text()
    assert read_manifest(folder) == manifest


def test_decoding_the_tokens_gives_the_documents_back(built):
    folder, manifest = built
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens = TokenFile.open(folder / "heldout.bin").tokens.tolist()
    end = tokenizer.token_to_id("<eos>")
    assert end == 0
    assert tokens.count(end) == manifest.heldout_documents
    first = tokenizer.decode(tokens[: tokens.index(end)])
    originals = {path.read_text() for path in (folder.parent.parent / "corpus").glob("*.txt")}
    assert first in originals


def test_text_that_spells_the_end_token_does_not_end_a_document():
    tokenizer = text.train_tokenizer([Document("a", "ab <eos> ab")], 300)
    assert 0 not in tokenizer.encode("ab <eos> ab").ids


def test_the_split_holds_out_the_first_documents_that_reach_the_fraction():
    documents = [Document(str(i), "x" * 100) for i in range(10)]
    train, heldout = text.split(documents, 0.2, seed=3)
    assert (len(train), len(heldout)) == (8, 2)
    assert sorted(names(train) + names(heldout)) == [str(i) for i in range(10)]
    assert text.split(documents, 0.2, seed=3) == (train, heldout)
    assert text.split(documents, 0.2, seed=4) != (train, heldout)


def test_unigram_entropy_is_the_cross_entropy_under_smoothed_training_frequencies():
    # Train counts 2, 1, 0 smoothed to 3/6, 2/6, 1/6; held out: tokens 0, 0, 2. (2 ln 2 + ln 6) / 3 = 1.059351
    assert text.unigram_nats(np.array([2, 1, 0]), np.array([2, 0, 1])) == pytest.approx(1.059351, abs=1e-6)


def test_the_default_corpus_is_at_least_ten_megabytes_without_machine_paths():
    found = corpus.find(None)
    assert sum(len(document.text.encode()) for document in found.documents) > 10_000_000
    assert found.source.startswith("source text of mpmath ")
    by_package = {name.split("/")[0] for name in names(found.documents)}
    assert by_package == {"mpmath", "networkx", "sympy", "isympy.py"}
    networkx = [name for name in names(found.documents) if name.startswith("networkx/")]
    assert networkx == sorted(networkx)
    assert not any(name.startswith("/") or "/tests/" in name for name in names(found.documents))


# --- subsets ----------------------------------------------------------------------------------------------------


def test_a_subset_is_a_fraction_or_a_number_of_the_training_items(built):
    _, manifest = built
    total = manifest.train_items
    assert subset_items(manifest.model_copy(update={"train_items": 100}), Subset(name="a", fraction=0.29)) == 29
    assert subset_items(manifest.model_copy(update={"train_items": 100}), Subset(name="a", fraction=0.001)) == 1
    assert subset_items(manifest, Subset(name="a", items={"text": total})) == total
    with pytest.raises(ValueError, match=f"subset 'big' asks for {total + 1} tokens; data/text has {total}"):
        subset_items(manifest, Subset(name="big", items={"text": total + 1}))
    with pytest.raises(ValueError, match="subset 'b' says nothing for text"):
        subset_items(manifest, Subset(name="b", items={"images": 1}))


def test_the_digest_is_of_what_the_subset_reads(built):
    folder, manifest = built
    tokens = (folder / "train.bin").read_bytes()[64:]
    md5s = manifest.files_md5
    expected = hashlib.md5(f"{md5s['tokenizer.json']} {md5s['heldout.bin']} 1000\n".encode() + tokens[:2000])
    assert digest("text", folder, 1000) == expected.hexdigest()
    assert digest("text", folder, 1001) != digest("text", folder, 1000)


def test_a_damaged_manifest_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"manifest\.json does not exist"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"kind": "text", ')
    with pytest.raises(ValueError, match=r"manifest\.json is cut short or not JSON at byte 17 of 17"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"kind": "text"}')
    with pytest.raises(ValueError, match=r"manifest\.json is not a dataset manifest"):
        read_manifest(tmp_path)
