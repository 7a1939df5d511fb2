"""What a dataset folder says about itself (manifest.json), and what a subset of it is.

Subsets are nested prefixes of the training split: the first n tokens, or the first n images of the seeded order.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from yocobench.bench.data.images import read_json
from yocobench.bench.data.text import HEADER_BYTES, TOKEN_DTYPE
from yocobench.schema import DataKind, Frozen, Subset


class TextManifest(Frozen):
    """data/text/manifest.json. Items are tokens."""

    schema_version: Literal[1] = 1
    kind: Literal["text"] = "text"
    source: str
    """Where the text came from, without machine paths."""
    train_items: int
    heldout_items: int
    train_documents: int
    heldout_documents: int
    vocab_size: int
    bytes_per_token: float
    """UTF-8 bytes of the training split per token: tokens of other tokenizers compare by it."""
    heldout_unigram_nats: float
    """Cross entropy, in nats per token, of the held-out split under the training split's token frequencies
    (add-one smoothing). A model that learned nothing but frequencies has this loss."""
    files_md5: dict[str, str]


class ImagesManifest(Frozen):
    """data/images/manifest.json. Items are images; train.json lists them in the seeded order."""

    schema_version: Literal[1] = 1
    kind: Literal["images"] = "images"
    source: str
    train_items: int
    heldout_items: int
    train_annotations: int
    heldout_annotations: int
    num_categories: int
    images_bytes: int
    mean_image_pixels: float | None = None
    """Of both splits, as stored: what decoding takes follows it. Null in manifests made before 2026-11-24."""
    files_md5: dict[str, str]
    """Of train.json and heldout.json."""
    images_md5: dict[str, str]
    """By file_name; of both splits."""


Manifest = Annotated[TextManifest | ImagesManifest, Field(discriminator="kind")]
_MANIFEST: TypeAdapter[TextManifest | ImagesManifest] = TypeAdapter(Manifest)


def read_manifest(root: Path) -> TextManifest | ImagesManifest:
    """The manifest of the dataset in folder `root`. Raises ValueError when it is missing or damaged."""
    path = root / "manifest.json"
    content = read_json(path, f"make the dataset with: dvc repro dataset@{root.name}")
    try:
        return _MANIFEST.validate_python(content)
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{path} is not a dataset manifest of this version: {lines}") from None


def subset_items(manifest: TextManifest | ImagesManifest, subset: Subset) -> int:
    """How many items of the training split the subset takes; at least 1.

    Raises ValueError when the subset asks for more than there is, or says nothing for this kind of data.
    """
    if subset.fraction is not None:
        # 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996: both mean the whole number.
        return max(1, int(subset.fraction * manifest.train_items + 1e-6))
    assert subset.items is not None
    if manifest.kind not in subset.items:
        raise ValueError(
            f"subset {subset.name!r} says nothing for {manifest.kind}: "
            f"add `{manifest.kind}:` under items in conf/subset/{subset.name}.yaml"
        )
    items = subset.items[manifest.kind]
    if items > manifest.train_items:
        unit = "tokens" if manifest.kind == "text" else "images"
        raise ValueError(
            f"subset {subset.name!r} asks for {items} {unit}; data/{manifest.kind} has {manifest.train_items} "
            f"to train on: lower it in conf/subset/{subset.name}.yaml, or give a larger dataset in params.yaml"
        )
    return items


def digest(kind: DataKind, root: Path, items: int) -> str:
    """MD5 of what a run on the first `items` of the training split reads, held-out split included.

    Raises ValueError when the dataset is missing or damaged.
    """
    manifest = read_manifest(root)
    assert manifest.kind == kind
    assert 1 <= items <= manifest.train_items
    if isinstance(manifest, TextManifest):
        return _text_digest(manifest, root, items)
    return _images_digest(manifest, root, items)


def _text_digest(manifest: TextManifest, root: Path, items: int) -> str:
    md5 = hashlib.md5(usedforsecurity=False)
    md5.update(f"{manifest.files_md5['tokenizer.json']} {manifest.files_md5['heldout.bin']} {items}\n".encode())
    path, left = root / "train.bin", items * TOKEN_DTYPE.itemsize
    if not path.is_file():
        raise ValueError(f"{path} does not exist; make it with: dvc repro dataset@text")
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        while left > 0:
            piece = file.read(min(left, 1 << 20))
            if not piece:
                raise ValueError(f"{path} is cut short: it ends at byte {file.tell()}, {left} bytes are missing")
            md5.update(piece)
            left -= len(piece)
    return md5.hexdigest()


def _images_digest(manifest: ImagesManifest, root: Path, items: int) -> str:
    coco = read_json(root / "train.json", "make it with: dvc repro dataset@images")
    try:
        images = coco["images"][:items]
        ids = {image["id"] for image in images}
        read = {
            "heldout": manifest.files_md5["heldout.json"],
            "categories": coco["categories"],
            "images": images,
            "annotations": [a for a in coco["annotations"] if a["image_id"] in ids],
            "train_files": [manifest.images_md5[image["file_name"]] for image in images],
            "heldout_files": _heldout_files(manifest, {image["file_name"] for image in coco["images"]}),
        }
    except (KeyError, TypeError) as error:
        said = f"is damaged, or not what {root / 'manifest.json'} tells of: {type(error).__name__}: {error}"
        raise ValueError(f"{root / 'train.json'} {said}; make it again: dvc repro -f dataset@images") from error
    return hashlib.md5(json.dumps(read, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def _heldout_files(manifest: ImagesManifest, train_names: set[str]) -> list[tuple[str, str]]:
    return sorted((name, md5) for name, md5 in manifest.images_md5.items() if name not in train_names)
