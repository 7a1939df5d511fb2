"""Builds data/text: documents -> byte-level BPE tokenizer -> token files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress, TaskID
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from yocobench.bench.data.manifest import TextManifest
from yocobench.bench.data.text import TOKEN_DTYPE, TokenFile, header
from yocobench.datasets import corpus
from yocobench.datasets.corpus import Document
from yocobench.datasets.output import file_md5, require_space, whole_folder
from yocobench.schema import TextData

END_OF_DOCUMENT = "<eos>"
MIN_SPLIT_TOKENS = 2049
"""One sequence of 2048 tokens and its targets; on fewer a held-out loss means little."""
TRAINER_BYTES = 8_000_000
"""The tokenizer is trained on the first documents of the seeded order up to this size: more changes it little."""
BATCH_DOCUMENTS = 256


@dataclass(frozen=True)
class _Written:
    num_tokens: int
    counts: np.ndarray[tuple[int], np.dtype[np.int64]]
    """How often each token occurs."""


def build(params: TextData, target: Path, progress: Progress) -> TextManifest:
    """Makes the dataset in folder `target`, whole or not at all. The same corpus and params give the same bytes.

    Raises ValueError: bad corpus (naming file and offset), too little text, too little disk.
    """
    task = progress.add_task("reading the corpus", total=None)
    found = corpus.find(params.source)
    train, heldout = split(found.documents, params.heldout_fraction, params.seed)
    train_bytes = _num_bytes(train)
    # A token stands for a byte at least and takes two.
    require_space(target.parent, 2 * (train_bytes + _num_bytes(heldout)))
    progress.update(task, description="training the tokenizer")
    tokenizer = train_tokenizer(train, params.vocab_size)
    progress.update(task, description="encoding", total=len(train) + len(heldout))
    with whole_folder(target) as folder:
        # Not tokenizer.save(): on a full disk it raises a bare Exception.
        (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        written_train = _write(folder / "train.bin", train, tokenizer, progress, task)
        written_heldout = _write(folder / "heldout.bin", heldout, tokenizer, progress, task)
        _require_tokens("training", written_train.num_tokens, params)
        _require_tokens("held-out", written_heldout.num_tokens, params)
        manifest = TextManifest(
            source=found.source,
            train_items=written_train.num_tokens,
            heldout_items=written_heldout.num_tokens,
            train_documents=len(train),
            heldout_documents=len(heldout),
            vocab_size=tokenizer.get_vocab_size(),
            bytes_per_token=round(train_bytes / written_train.num_tokens, 6),
            # Rounded: the last bits of a logarithm differ between processors, the manifest shall not.
            heldout_unigram_nats=round(unigram_nats(written_train.counts, written_heldout.counts), 6),
            files_md5={name: file_md5(folder / name) for name in ("tokenizer.json", "train.bin", "heldout.bin")},
        )
        TokenFile.open(folder / "train.bin")
        TokenFile.open(folder / "heldout.bin")
        (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest


def split(documents: Sequence[Document], heldout_fraction: float, seed: int) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents in seeded order; held out: the first that reach the fraction of all bytes.

    Raises ValueError when there are fewer than two documents.
    """
    if len(documents) < 2:
        raise ValueError(
            f"the corpus has {len(documents)} document(s); at least 2 are needed, one of them to hold out "
            f"(a .txt is cut into documents of {corpus.MAX_CHARS} characters)"
        )
    order = np.random.default_rng(seed).permutation(len(documents))
    shuffled = [documents[i] for i in order]
    sizes = np.cumsum([len(document.text.encode()) for document in shuffled])
    wanted = int(np.searchsorted(sizes, heldout_fraction * sizes[-1])) + 1
    num_heldout = min(wanted, len(shuffled) - 1)
    return shuffled[num_heldout:], shuffled[:num_heldout]


def train_tokenizer(documents: Sequence[Document], vocab_size: int) -> Tokenizer:
    """Byte-level BPE: any text can be encoded and decoded back. Smaller than `vocab_size` if there is too little text.

    The end-of-document token is number 0; text that spells it is encoded as ordinary text.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_DOCUMENT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_first_bytes(documents, TRAINER_BYTES), trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def unigram_nats(
    train_counts: np.ndarray[tuple[int], np.dtype[np.int64]], heldout_counts: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> float:
    """Cross entropy in nats per token of the held-out tokens under the training frequencies, add-one smoothed."""
    probabilities = (train_counts + 1) / (train_counts.sum() + len(train_counts))
    return float(-(heldout_counts * np.log(probabilities)).sum() / heldout_counts.sum())


def _write(
    path: Path, documents: Sequence[Document], tokenizer: Tokenizer, progress: Progress, task: TaskID
) -> _Written:
    vocab_size = tokenizer.get_vocab_size()
    end = tokenizer.token_to_id(END_OF_DOCUMENT)
    counts = np.zeros(vocab_size, dtype=np.int64)
    with path.open("wb") as file:
        file.write(header(vocab_size, 0))
        for first in range(0, len(documents), BATCH_DOCUMENTS):
            batch = documents[first : first + BATCH_DOCUMENTS]
            encoded = tokenizer.encode_batch_fast([document.text for document in batch])
            ids = itertools.chain.from_iterable((*document.ids, end) for document in encoded)
            tokens = np.fromiter(ids, dtype=TOKEN_DTYPE)
            counts += np.bincount(tokens, minlength=vocab_size)
            file.write(tokens.tobytes())  # not tofile(), whose error on a full disk says neither that nor where
            progress.advance(task, len(batch))
        num_tokens = int(counts.sum())
        file.seek(0)
        file.write(header(vocab_size, num_tokens))
    return _Written(num_tokens, counts)


def _first_bytes(documents: Sequence[Document], limit: int) -> Iterator[str]:
    total = 0
    for document in documents:
        if total >= limit:
            return
        total += len(document.text.encode())
        yield document.text


def _num_bytes(documents: Sequence[Document]) -> int:
    return sum(len(document.text.encode()) for document in documents)


def _require_tokens(which: str, num_tokens: int, params: TextData) -> None:
    if num_tokens < MIN_SPLIT_TOKENS:
        raise ValueError(
            f"the {which} split has {num_tokens} tokens; at least {MIN_SPLIT_TOKENS} are needed: give a larger corpus "
            f"(data.text.source) or another share to hold out (data.text.heldout_fraction is {params.heldout_fraction})"
        )
