"""The models of the published measurements, written compactly for tracing: shapes and operations, no training recipe.

`make(name, batch)` returns (module, loss, batch tensors) on the default device, meant to be `meta`. Rewritten in full:
ResNet-50 and its relatives, EfficientNet, MobileNetV2, MNASNet-B1, VGG, AlexNet, GoogLeNet (no side exits), BERT,
Transformer-XL's layers, WaveGlow, NCF, ViT, MPT, U-Net. Simplified: SSD300 (one head per scale), GNMT (27 tokens a
side, attention once per layer), Tacotron 2 (40 decoder steps of some 800: the step repeats), Transformer-XL's adaptive
softmax (head only). Of those, only ratios between devices are asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.models_images import SSD, UNet, WaveGlow, classifier, cross_entropy, mean_square, resnet
from benchmarks.models_mobile import MNASNET, MOBILENET_V2, basic_resnet, efficientnet, mobile
from benchmarks.models_plain import VGG11, VGG19, alexnet, googlenet, vgg
from benchmarks.models_sequences import GNMT, NCF, Tacotron, ViT, bert, masked_bert, mpt, tokens, transformer_xl
from torch import Tensor, nn

Made = tuple[nn.Module, Callable[[nn.Module, Any], Tensor], Any]

MAKERS: dict[str, Callable[[int], Made]] = {
    "resnet50": lambda b: resnet(b, [3, 4, 6, 3]),
    "resnet18": lambda b: basic_resnet(b, [2, 2, 2, 2]),
    "resnet34": lambda b: basic_resnet(b, [3, 4, 6, 3]),
    "resnet101": lambda b: resnet(b, [3, 4, 23, 3]),
    "resnet152": lambda b: resnet(b, [3, 8, 36, 3]),
    "resnet50-32px": lambda b: resnet(b, [3, 4, 6, 3], 32),
    "resnext50": lambda b: resnet(b, [3, 4, 6, 3], groups=32, base=4),
    "resnext101": lambda b: resnet(b, [3, 4, 23, 3], groups=32, base=4),
    "se-resnext101": lambda b: resnet(b, [3, 4, 23, 3], groups=32, base=4, squeeze=True),
    "efficientnet-b0": lambda b: efficientnet(b, 1.0, 1.0, 224),
    "efficientnet-b4": lambda b: efficientnet(b, 1.4, 1.8, 380),
    "vgg11": lambda b: vgg(b, VGG11),
    "vgg19": lambda b: vgg(b, VGG19),
    "alexnet": alexnet,
    "googlenet": googlenet,
    "ssd300": lambda b: (SSD(), mean_square, torch.zeros(b, 3, 300, 300)),
    "unet": lambda b: (UNet(), mean_square, torch.zeros(b, 3, 256, 256)),
    "waveglow": lambda b: (WaveGlow(), mean_square, (torch.zeros(b, 8, 1000), torch.zeros(b, 640, 1000))),
    "bert-base": lambda b: bert(b, 768, 12, 12, 384),
    "bert-large": lambda b: bert(b, 1024, 24, 16, 384),
    "distilbert-384": lambda b: bert(b, 768, 6, 12, 384),
    "txl-base": lambda b: transformer_xl(b, 512, 16, 8, 192),
    "txl-large": lambda b: transformer_xl(b, 1024, 18, 16, 256),
    "vit-b16": lambda b: classifier(ViT(), b, 224),
    "gnmt": lambda b: (GNMT(), cross_entropy, (torch.zeros(27, b, dtype=torch.long),) * 2),
    "tacotron2": lambda b: (Tacotron(), mean_square, (tokens(b, 100, 148), torch.zeros(b, 40, 80))),
    "ncf": lambda b: (NCF(), mean_square, torch.zeros(b, dtype=torch.long)),
}  # fmt: skip


def make(name: str, batch: int) -> Made:
    """The model of that name with a batch. MPT: `mpt-<size>-<length>[-recompute]`; `bert-large-mlm-<length>`;
    `mobilenetv2-<width in %>`, `mnasnet-<width in %>`."""
    if name.startswith("bert-large-mlm-"):
        return masked_bert(batch, 1024, 24, 16, int(name.rsplit("-", 1)[1]))
    if name.startswith("mpt-"):
        _, size, length, *rest = name.split("-")
        return mpt(batch, size, int(length), bool(rest))
    if name.startswith(("mobilenetv2-", "mnasnet-")):
        first, width = name.split("-")
        stages, act = (MNASNET, nn.ReLU) if first == "mnasnet" else (MOBILENET_V2, nn.ReLU6)
        return mobile(batch, stages, int(width) / 100, act)
    return MAKERS[name](batch)
