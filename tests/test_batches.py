"""Batches of any nesting go to the device; what cannot go is named on every device.

Run: pytest tests/test_batches.py
"""

import dataclasses
from collections import UserDict
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from yocobench.bench.accelerators.base import map_tensors


class Pair(NamedTuple):
    x: Tensor
    y: Tensor


@dataclasses.dataclass
class Sample:
    image: Tensor
    name: str
    size: int = dataclasses.field(init=False, default=3)


class Encoding(UserDict):
    """As transformers' BatchEncoding: a dict-like class of its own."""


def moved(batch):
    return map_tensors(batch, lambda tensor: tensor.to("meta"))


def test_nested_containers_keep_their_types():
    one = torch.zeros(2)
    found = moved({"a": [one, (one, Pair(one, one))], "b": Encoding(ids=one), "c": Sample(one, "x"), "d": None, "e": 7})
    (first, (second, pair)) = found["a"]
    assert type(pair) is Pair
    assert type(found["b"]) is Encoding
    assert {t.device.type for t in (first, second, *pair, found["b"]["ids"], found["c"].image)} == {"meta"}
    assert (found["c"].name, found["c"].size, found["d"], found["e"]) == ("x", 3, None, 7)
    assert one.device.type == "cpu"


def test_arrays_and_words_stay():
    array = np.zeros(3)
    assert moved([array, "name", b"raw", 1.5, np.float32(2)])[0] is array


def test_an_object_whose_tensors_would_stay_behind_is_named():
    class Graph:
        x = torch.zeros(2)

    with pytest.raises(ValueError, match=r"Graph; a batch is made of tensors in dicts, lists, tuples or dataclasses"):
        moved([Graph()])
