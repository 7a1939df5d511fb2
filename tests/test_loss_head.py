"""The language models' last product and loss in chunks, against the whole (workloads/language/head.py)."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from yocobench.bench.workloads.language import head
from yocobench.bench.workloads.language.decoder import Decoder, DecoderShape
from yocobench.bench.workloads.language.head import LossHead, chunk_length
from yocobench.bench.workloads.transformer import Transformer
from yocobench.estimate.trace import trace_workload

VOCAB, WIDTH, LENGTH = 40, 16, 10


# 4 bytes a logit: 160m has 206 MB of them at 1,024 tokens, 824 at 4,096, 3,297 at 16,384; 3b 1,643 at 4,096.
@pytest.mark.parametrize(
    ("length", "vocab_size", "expected"),
    [(1024, 50_304, 1024), (4096, 50_304, 2048), (16_384, 50_304, 2341), (4096, 100_288, 1024), (1, 10**9, 1)],
)
def test_a_chunk_holds_half_a_gibibyte_of_logits_at_most(length: int, vocab_size: int, expected: int):
    assert chunk_length(length, vocab_size) == expected


@pytest.fixture
def three_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 3, 3, 3 and 1 of ten tokens."""
    monkeypatch.setattr(head, "MAX_LOGITS_BYTES", 3 * VOCAB * 4)
    assert chunk_length(LENGTH, VOCAB) == 3


def parts(dtype: torch.dtype) -> tuple[LossHead, Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(2, LENGTH, WIDTH, dtype=dtype, requires_grad=True)
    return LossHead(WIDTH, VOCAB).to(dtype), x, torch.randint(VOCAB, (2, LENGTH + 1))[:, 1:]


def whole(layer: LossHead, x: Tensor, targets: Tensor) -> list[Tensor]:
    """Loss and gradients by the definition."""
    loss = nn.functional.cross_entropy((x @ layer.weight.mT).flatten(0, 1), targets.flatten())
    return [loss, *torch.autograd.grad(loss, (x, layer.weight))]


@pytest.mark.usefixtures("three_at_a_time")
def test_chunks_have_the_loss_and_the_gradients_of_the_whole():
    layer, x, targets = parts(torch.float64)
    loss = layer(x, targets)
    found = [loss, *torch.autograd.grad(3 * loss, (x, layer.weight))]
    expected = whole(layer, x, targets)
    torch.testing.assert_close(found, [expected[0], 3 * expected[1], 3 * expected[2]], rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("three_at_a_time")
def test_equal_logits_cost_the_logarithm_of_the_vocabulary():
    layer, x, targets = parts(torch.float32)
    nn.init.zeros_(layer.weight)
    assert layer(x, targets).item() == pytest.approx(math.log(VOCAB))


@pytest.mark.usefixtures("three_at_a_time")
def test_without_gradients_the_loss_is_the_same_and_none_are_made(monkeypatch: pytest.MonkeyPatch):
    layer, x, targets = parts(torch.float64)
    expected = layer(x, targets)
    monkeypatch.setattr(torch, "exp", None)  # what the gradients begin with
    with torch.no_grad():
        found = layer(x, targets)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=0)


@pytest.mark.usefixtures("three_at_a_time")
def test_chunks_compile_as_one_graph():
    layer, x, targets = parts(torch.float32)
    torch.compiler.reset()
    loss = torch.compile(layer, fullgraph=True, dynamic=False, backend="aot_eager")(x, targets)
    torch.testing.assert_close([loss, *torch.autograd.grad(loss, (x, layer.weight))], whole(layer, x, targets))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.usefixtures("three_at_a_time")
def test_under_autocast_the_loss_is_fp32_and_no_gradient_is_lost_to_the_division_by_tokens(dtype: torch.dtype):
    layer, x, targets = parts(torch.float32)
    x = x.detach().repeat(2000, 1, 1).requires_grad_()  # 40,000 tokens: probabilities over that are below fp16's range
    targets = targets.repeat(2000, 1)
    expected = whole(layer, x, targets)
    with torch.autocast("cpu", dtype=dtype):
        loss = layer(x, targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected[0].item(), rel=0.01)
    for found, exact in zip(torch.autograd.grad(loss, (x, layer.weight)), expected[1:], strict=True):
        assert found.dtype == torch.float32
        assert (found - exact).norm() < 0.02 * exact.norm()


@pytest.mark.usefixtures("three_at_a_time")
def test_a_model_trains_in_chunks_as_whole(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    model = Decoder(DecoderShape(width=32, num_layers=2, num_heads=4, ffn_width=48, vocab_size=VOCAB)).double()
    other = copy.deepcopy(model)
    ids, targets = torch.randint(VOCAB, (2, 2, LENGTH)).unbind(0)
    model(ids, targets).backward()
    monkeypatch.undo()
    other(ids, targets).backward()
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-11)


def test_chunks_take_less_memory_and_no_more_arithmetic(monkeypatch: pytest.MonkeyPatch):
    workload = Transformer(size="tiny", sequence_length=1024, vocab_size=16_384)
    before = trace_workload(workload, 2, low_precision=True)
    monkeypatch.setattr(head, "MAX_LOGITS_BYTES", 16 * 2**20)  # a quarter of 1,024 x 16,384 x 4
    after = trace_workload(workload, 2, low_precision=True)
    assert after.flops == before.flops > 0
    for compiled in (False, True):
        assert after.peak_bytes(compiled) < before.peak_bytes(compiled) - 64 * 2**20
