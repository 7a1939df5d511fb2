"""The benchmark datasets as a run reads them. Building them is datasets/'s work, which a run never needs."""

from yocobench.bench.data.manifest import ImagesManifest, TextManifest, digest, read_manifest, subset_items

__all__ = ["ImagesManifest", "TextManifest", "digest", "read_manifest", "subset_items"]
