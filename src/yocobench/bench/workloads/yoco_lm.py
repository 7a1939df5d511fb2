"""`yoco-lm`: YOCO, "You Only Cache Once", the decoder-decoder language model.

Sources: arXiv 2405.05254 (NeurIPS 2024) and its code, github.com/microsoft/unilm, folder YOCO. The model is in
language/yoco.py, its mixers in language/retention.py and language/attention.py. Per token, with d the width, L the
layers, f the feed-forward width, V the vocabulary, h_r and dk the retention heads and their width, C the chunk,
W the window, T the sequence:

    N_matmul   = (L/2)(A + 3 d f) + (L/2)(2 d^2 + 3 d f) + 2 d kv dh + d V,   A = 5 d^2 + d h_r (gated retention)
                                                                              A = 4 d^2         (sliding window)
    FLOPs      = 6 N_matmul + (L/2) 12 d (K_cross + K_self),   K_cross = (T + 1)/2
    K_self     = C/2 + dk (chunkwise gated retention)   or   W - W(W - 1)/(2 T) (sliding window)

Not covered: the fast kernels that exist for GPUs, dropout (the paper has none), weight tying.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, get_args

from torch import nn

from yocobench.bench.workloads.language.workload import LanguageWorkload, known, positive
from yocobench.bench.workloads.language.yoco import Mixer, Yoco, YocoShape


@dataclass(frozen=True)
class Preset:
    """A named size. Gated retention's head is 256 wide in the paper's scaling study and 128 in its 3B model."""

    width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    ffn_width: int
    vocab_size: int
    retention_head_dim: int
    chunk: int
    window: int
    sequence_length: int
    learning_rate: float


# 160m, 830m and 3b: the paper's shapes and learning rates (table 2 and appendices); the first two with a vocabulary of
# 50,304.
# tiny and small: ours, for processors.
SIZES = {
    "tiny": Preset(384, 8, 6, 3, 1152, 8192, 128, 128, 128, 512, 1e-3),
    "small": Preset(512, 8, 8, 4, 1536, 16384, 128, 128, 256, 1024, 1e-3),
    "160m": Preset(768, 12, 12, 12, 2304, 50304, 256, 128, 1024, 1024, 1.5e-4),
    "830m": Preset(1536, 24, 12, 12, 4608, 50304, 256, 128, 1024, 2048, 1.5e-4),
    "3b": Preset(3072, 26, 24, 8, 8192, 100288, 128, 128, 1024, 4096, 3.2e-4),
}


class YocoLM(LanguageWorkload):
    """YOCO of a named size. Null takes the size's own value."""

    shape: YocoShape

    def __init__(
        self,
        size: str = "tiny",
        mixer: str = "gated-retention",
        sequence_length: int | None = None,
        chunk: int | None = None,
        window: int | None = None,
        vocab_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float = 0.1,
        warmup_steps: int = 10,
    ) -> None:
        """`mixer` of the self-decoder: gated-retention (in chunks of `chunk` tokens) or sliding-window (of `window`).

        Raises ValueError: unknown size or mixer, a number that is not positive, a chunk that does not divide the
        sequence (its padding would be work that nobody counts).
        """
        known("size", size, SIZES)
        known("mixer", mixer, get_args(Mixer))
        preset = SIZES[size]
        length = preset.sequence_length if sequence_length is None else sequence_length
        chunk = min(preset.chunk, length) if chunk is None else chunk
        window = preset.window if window is None else window
        vocab_size = preset.vocab_size if vocab_size is None else vocab_size
        rate = preset.learning_rate if learning_rate is None else learning_rate
        positive(int, sequence_length=length, chunk=chunk, window=window, vocab_size=vocab_size)
        positive(float, learning_rate=rate)
        if mixer == "gated-retention" and length % chunk:
            raise ValueError(f"workload.args.chunk ({chunk}) must divide sequence_length ({length})")
        shape = YocoShape(
            width=preset.width,
            num_layers=preset.num_layers,
            num_heads=preset.num_heads,
            num_kv_heads=preset.num_kv_heads,
            ffn_width=preset.ffn_width,
            vocab_size=vocab_size,
            mixer=cast(Mixer, mixer),
            retention_head_dim=preset.retention_head_dim,
            chunk=chunk,
            window=window,
        )
        super().__init__(shape, length, rate, weight_decay, warmup_steps)

    def build(self) -> nn.Module:
        """The model, on the default device."""
        return Yoco(self.shape)
