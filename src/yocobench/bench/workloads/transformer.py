"""`transformer`: a plain Llama-like decoder, about as large as `yoco-lm` of the same size, on the same data.

Source of the shapes: arXiv 2405.05254, whose Llama baseline has a feed-forward of 8 d / 3 (rounded to 64 here) and
as many query as key-value heads. Per token:

    N_matmul = L (4 d^2 + 3 d f) + d V,   FLOPs = 6 N_matmul + 12 L d (T + 1)/2

It is also the example of a second model behind the seam: a shape, a module and this class.
"""

from __future__ import annotations

from torch import nn

from yocobench.bench.workloads.language.decoder import Decoder, DecoderShape
from yocobench.bench.workloads.language.workload import LanguageWorkload, known, positive
from yocobench.bench.workloads.yoco_lm import SIZES

FFN_WIDTHS = {"tiny": 1024, "small": 1344, "160m": 2048, "830m": 4096, "3b": 8192}


class Transformer(LanguageWorkload):
    """The baseline of a named size. Null takes the value of the same size of `yoco-lm`."""

    shape: DecoderShape

    def __init__(
        self,
        size: str = "tiny",
        sequence_length: int | None = None,
        vocab_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float = 0.1,
        warmup_steps: int = 10,
    ) -> None:
        """Raises ValueError: unknown size, or a number that is not positive."""
        known("size", size, FFN_WIDTHS)
        preset = SIZES[size]
        length = preset.sequence_length if sequence_length is None else sequence_length
        vocab_size = preset.vocab_size if vocab_size is None else vocab_size
        rate = preset.learning_rate if learning_rate is None else learning_rate
        positive(int, sequence_length=length, vocab_size=vocab_size)
        positive(float, learning_rate=rate)
        shape = DecoderShape(preset.width, preset.num_layers, preset.num_heads, FFN_WIDTHS[size], vocab_size)
        super().__init__(shape, length, rate, weight_decay, warmup_steps)

    def build(self) -> nn.Module:
        """The model, on the default device."""
        return Decoder(self.shape)
