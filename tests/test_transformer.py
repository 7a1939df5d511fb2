"""`transformer`: the plain decoder against its definition, and against yoco-lm's size."""

import pytest
import torch

from yocobench.bench.workloads.language.decoder import Decoder, DecoderShape
from yocobench.bench.workloads.transformer import Transformer
from yocobench.bench.workloads.yoco_lm import SIZES, YocoLM


def small_model() -> Decoder:
    torch.manual_seed(0)
    return Decoder(DecoderShape(width=32, num_layers=2, num_heads=4, ffn_width=48, vocab_size=64)).double()


# Hand-computed, e.g. tiny: 8 (4*384^2 + 3*384*1024) + 384*8192 = 17,301,504; and 384 (8192 + 17) more in all.
@pytest.mark.parametrize(
    ("size", "num_matmul", "num_all"),
    [
        ("tiny", 17_301_504, 20_453_760),
        ("small", 33_292_288, 41_689_600),
        ("160m", 123_568_128, 162_220_800),
        ("830m", 756_744_192, 834_086_400),
        ("3b", 3_252_486_144, 3_560_733_696),
    ],
)
def test_parameter_counts_equal_the_closed_formula(size: str, num_matmul: int, num_all: int):
    workload = Transformer(size=size)
    with torch.device("meta"):
        model = workload.build()
        loss = workload.loss(model, workload.example_batch(1))
    assert loss.shape == ()
    assert sum(p.numel() for p in model.parameters()) == num_all == workload.shape.num_parameters()
    assert workload.shape.num_matmul_parameters() == num_matmul


# tiny at T = 512: 6 * 17,301,504 + 12 * 8 * 384 * 513/2 = 113,264,640 per token.
@pytest.mark.parametrize(("size", "mflop"), [("tiny", 113.265), ("small", 224.944), ("160m", 798.088)])
def test_training_flops_per_token_equal_the_closed_causal_formula(size: str, mflop: float):
    assert Transformer(size=size).flops_per_sample() / 1e6 == pytest.approx(mflop, rel=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_it_is_as_large_as_yoco_of_the_same_size_within_a_tenth(size: str):
    ours = Transformer(size=size).shape.num_matmul_parameters()
    for mixer in ("gated-retention", "sliding-window"):
        assert ours == pytest.approx(YocoLM(size=size, mixer=mixer).shape.num_matmul_parameters(), rel=0.1)


def test_a_changed_token_changes_its_own_output_and_none_before():
    model = small_model()
    ids = torch.arange(16)[None] * 3 % 64
    changed = ids.clone()
    changed[0, 9] += 1
    before, after = model(ids), model(changed)
    torch.testing.assert_close(before[:, :9], after[:, :9], rtol=0, atol=0)
    assert (before[:, 9:] - after[:, 9:]).abs().amax(-1).min() > 1e-4


def test_loss_of_a_batch_is_the_mean_negative_log_probability_of_the_next_tokens():
    model = small_model()
    batch = torch.arange(18).view(2, 9)
    picked = model(batch[:, :-1]).log_softmax(-1).gather(-1, batch[:, 1:, None])
    loss = Transformer(sequence_length=8).loss(model, batch)
    torch.testing.assert_close(loss, -picked.mean())


def test_it_learns_a_repeated_sequence():
    model = small_model().float()
    workload = Transformer(sequence_length=8, vocab_size=64, learning_rate=1e-2, warmup_steps=1)
    optimizer = workload.optimizer(model)
    batch = torch.randint(64, (2, 9), generator=torch.Generator().manual_seed(0))
    for _ in range(30):
        loss = workload.loss(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.5


def test_an_unknown_size_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"workload.args.size 'big' is not known. Known: tiny, small, 160m, 830m, 3b"):
        Transformer(size="big")
