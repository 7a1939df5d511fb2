"""Stage: make a benchmark dataset from params.yaml.

python -m yocobench.dataset text|images [key=value ...]    e.g. data.text.source=my/folder
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from yocobench import config
from yocobench.bench.data import ImagesManifest, TextManifest
from yocobench.datasets import images, text
from yocobench.launchers.signals import INTERRUPTED_STATUS
from yocobench.paths import told


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0; 2 for a mistake in the input or a full disk; 130 for Ctrl-C. Nothing half-written stays."""
    parser = argparse.ArgumentParser(prog="python -m yocobench.dataset", description="Make a benchmark dataset.")
    parser.add_argument("kind", choices=("text", "images"))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="replace a setting of params.yaml")
    given = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        params = config.study(given.overrides).data
        target = Path("data") / given.kind
        with Progress(console=console, disable=not console.is_terminal) as progress:
            if given.kind == "text":
                made = describe_text(text.build(params.text, target, progress))
            else:
                made = describe_images(images.build(params.images, target, progress))
    except (ValueError, OSError) as error:
        print(told(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted: data/{given.kind} was not changed", file=sys.stderr)
        return INTERRUPTED_STATUS
    print(f"data/{given.kind}: {made}")
    return 0


def describe_text(manifest: TextManifest) -> str:
    """One line on what was made."""
    return (
        f"{manifest.train_items} tokens to train on, {manifest.heldout_items} held out, "
        f"vocabulary {manifest.vocab_size}, from {manifest.source}"
    )


def describe_images(manifest: ImagesManifest) -> str:
    """One line on what was made."""
    return (
        f"{manifest.train_items} images to train on, {manifest.heldout_items} held out, "
        f"{manifest.num_categories} categories, from {manifest.source}"
    )


if __name__ == "__main__":
    sys.exit(main())
