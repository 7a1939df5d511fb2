"""`yoco-lm` against its definition: causality, cached decoding, counts, learning (its mixers: test_yoco_mixers.py)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from yocobench.bench.data.text import TOKEN_DTYPE, header
from yocobench.bench.workloads.language.attention import SharedKeysValues
from yocobench.bench.workloads.language.blocks import HAS_AMX
from yocobench.bench.workloads.language.yoco import Yoco, YocoShape
from yocobench.bench.workloads.yoco_lm import YocoLM

MIXERS = ("gated-retention", "sliding-window")
EXACT = {"rtol": 1e-9, "atol": 1e-10}


def small_model(mixer: str, chunk: int = 4, window: int = 5, num_layers: int = 4) -> Yoco:
    """Half of the layers in each half, in fp64, two query heads to a key-value head."""
    torch.manual_seed(0)
    shape = YocoShape(
        width=32,
        num_layers=num_layers,
        num_heads=4,
        num_kv_heads=2,
        ffn_width=48,
        vocab_size=64,
        mixer=mixer,
        retention_head_dim=16,
        chunk=chunk,
        window=window,
    )
    return Yoco(shape).double()


def token_ids(*size: int) -> Tensor:
    return torch.randint(64, size, generator=torch.Generator().manual_seed(1))


# --- the model --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_changed_token_changes_its_own_output_and_none_before(mixer: str):
    model = small_model(mixer)
    ids = token_ids(1, 16)
    changed = ids.clone()
    changed[0, 9] = (changed[0, 9] + 1) % 64
    before, after = model(ids), model(changed)
    torch.testing.assert_close(before[:, :9], after[:, :9], rtol=0, atol=0)
    assert (before[:, 9:] - after[:, 9:]).abs().amax(-1).min() > 1e-4


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("prompt", [1, 3, 8, 11])
def test_cached_decoding_equals_the_full_forward(mixer: str, prompt: int):
    model = small_model(mixer)
    ids = token_ids(2, 16)
    full = model(ids)
    logits, cache = model.prefill(ids[:, :prompt])
    torch.testing.assert_close(logits, full[:, prompt - 1], **EXACT)
    for t in range(prompt, 16):
        logits, cache = model.step(ids[:, t], cache)
        torch.testing.assert_close(logits, full[:, t], **EXACT)
    assert cache.length == 16


@pytest.mark.parametrize("mixer", MIXERS)
def test_only_one_key_value_cache_grows_with_the_tokens(mixer: str):
    model = small_model(mixer)
    _, short = model.prefill(token_ids(1, 6))
    _, long = model.prefill(token_ids(1, 60))

    def sizes(states: tuple) -> list[torch.Size]:
        return [part.shape for state in states for part in (state if isinstance(state, tuple) else (state,))]

    assert sizes(short.states) == sizes(long.states)
    assert short.keys.shape == (1, 2, 6, 8)
    assert long.keys.shape == (1, 2, 60, 8)


def test_keys_and_values_are_made_once_for_the_whole_cross_decoder():
    model = small_model("gated-retention")
    assert sum(isinstance(module, SharedKeysValues) for module in model.modules()) == 1
    assert not any("kv" in name for name, _ in model.cross_decoder.named_parameters())


@pytest.mark.parametrize("mixer", MIXERS)
def test_loss_of_a_batch_is_the_mean_negative_log_probability_of_the_next_tokens(mixer: str):
    model = small_model(mixer)
    batch = token_ids(2, 9)
    logits = model(batch[:, :-1])
    picked = logits.log_softmax(-1).gather(-1, batch[:, 1:, None])
    torch.testing.assert_close(YocoLM(sequence_length=8).loss(model, batch), -picked.mean(), **EXACT)


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_loss_is_one_graph_without_breaks(mixer: str):
    model = small_model(mixer, num_layers=2).float()
    ids, targets = token_ids(2, 16), token_ids(2, 16)
    compiled = torch.compile(model, fullgraph=True, dynamic=False, backend="eager")
    compiled(ids, targets).backward()
    found = model.embed.weight.grad.clone()
    model.zero_grad()
    model(ids, targets).backward()
    torch.testing.assert_close(found, model.embed.weight.grad)


@pytest.mark.skipif(HAS_AMX, reason="with AMX tiles torch's own kernel is kept")
def test_compiled_the_cross_decoder_attends_in_blocks_to_the_same_loss_and_gradients():
    model = small_model("gated-retention", chunk=64, num_layers=2).float()
    ids, targets = token_ids(2, 256), token_ids(2, 256)
    called: list[str] = []

    def noting(graph: torch.fx.GraphModule, _inputs: object):
        called.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    torch.compiler.reset()
    loss = torch.compile(model, fullgraph=True, dynamic=False, backend=noting)(ids, targets)
    loss.backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    assert not [name for name in called if "scaled_dot_product" in name]
    model.zero_grad()
    expected = model(ids, targets)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("mixer", MIXERS)
def test_bf16_autocast_gives_about_the_same_loss(mixer: str):
    model = small_model(mixer).float()
    ids, targets = token_ids(2, 16), token_ids(2, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(ids, targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(model(ids, targets).item(), rel=0.01)


# --- counts -----------------------------------------------------------------------------------------------------


# Hand-computed, e.g. tiny with gated retention: 4 (5*384^2 + 384*3 + 3*384*1152) + 4 (2*384^2 + 3*384*1152)
# + 2*384*192 + 384*8192 = 18,043,392.
@pytest.mark.parametrize(
    ("size", "mixer", "num_matmul", "num_all"),
    [
        ("tiny", "gated-retention", 18_043_392, 21_196_032),
        ("tiny", "sliding-window", 17_448_960, 20_601_600),
        ("small", "gated-retention", 34_873_344, 43_271_168),
        ("160m", "gated-retention", 128_300_544, 166_953_984),
        ("160m", "sliding-window", 124_747_776, 163_401_216),
        ("830m", "gated-retention", 789_884_928, 867_228_672),
        ("3b", "gated-retention", 3_137_052_672, 3_445_303_296),
    ],
)
def test_parameter_counts_equal_the_closed_formula(size: str, mixer: str, num_matmul: int, num_all: int):
    workload = YocoLM(size=size, mixer=mixer)
    with torch.device("meta"):
        model = workload.build()
    assert sum(p.numel() for p in model.parameters()) == num_all == workload.shape.num_parameters()
    matmul = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and name != "embed.weight")
    assert matmul == num_matmul == workload.shape.num_matmul_parameters()


def test_the_three_billion_model_has_the_papers_non_embedding_parameters():
    shape = YocoLM(size="3b").shape
    assert (shape.num_matmul_parameters() - 100_288 * 3072) / 1e9 == pytest.approx(2.83, abs=0.005)


# By hand, tiny at T = 512: 6 * 18,043,392 + 4 * 12 * 384 * (513/2 + 128/2 + 128) = 116,527,104 per token.
@pytest.mark.parametrize(
    ("size", "mixer", "mflop"),
    [
        ("tiny", "sliding-window", 111.488),
        ("tiny", "gated-retention", 116.527),
        ("small", "gated-retention", 226.554),
        ("160m", "sliding-window", 805.167),
        ("160m", "gated-retention", 815.839),
        ("3b", "sliding-window", 19_491.5),
    ],
)
def test_training_flops_per_token_equal_the_closed_causal_formula(size: str, mixer: str, mflop: float):
    assert YocoLM(size=size, mixer=mixer).flops_per_sample() / 1e6 == pytest.approx(mflop, rel=1e-5)


def test_a_window_wider_than_the_sequence_costs_what_full_attention_costs():
    wide, full = (YocoLM(mixer="sliding-window", window=window, sequence_length=64) for window in (500, 64))
    assert wide.flops_per_sample() == full.flops_per_sample()


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_largest_size_runs_forward_on_the_meta_device(mixer: str):
    workload = YocoLM(size="3b", mixer=mixer)
    with torch.device("meta"):
        loss = workload.loss(workload.build(), workload.example_batch(1))
    assert loss.device.type == "meta"
    assert loss.shape == ()
    assert workload.samples_per_item() == 4096


# --- the workload -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"size": "huge"}, "workload.args.size 'huge' is not known. Known: tiny, small, 160m, 830m, 3b"),
        ({"mixer": "mamba"}, "workload.args.mixer 'mamba' is not known. Known: gated-retention, sliding-window"),
        ({"sequence_length": 200}, r"workload.args.chunk \(128\) must divide sequence_length \(200\)"),
        ({"sequence_length": 0}, r"workload.args.sequence_length must be a whole number above 0 \(got 0\)"),
        ({"sequence_length": 64.0}, r"workload.args.sequence_length must be a whole number above 0 \(got 64.0\)"),
        ({"vocab_size": "many"}, r"workload.args.vocab_size must be a whole number above 0 \(got 'many'\)"),
        ({"learning_rate": -1.0}, r"workload.args.learning_rate must be a number above 0 \(got -1.0\)"),
    ],
)
def test_arguments_that_make_no_model_are_refused(args: dict, message: str):
    with pytest.raises(ValueError, match=message):
        YocoLM(**args)


def text_folder(folder: Path, tokens: np.ndarray, vocab_size: int, heldout: int) -> Path:
    for name, part in (("train.bin", tokens[heldout:]), ("heldout.bin", tokens[:heldout])):
        (folder / name).write_bytes(header(vocab_size, len(part)) + part.astype(TOKEN_DTYPE).tobytes())
    return folder


def test_batches_are_windows_of_the_subsets_prefix(tmp_path: Path):
    data = text_folder(tmp_path, np.arange(1000) % 4096, 4096, heldout=100)
    batches = YocoLM(sequence_length=64).batches(data, 200, batch_size=3, seed=0)
    for batch in (next(batches) for _ in range(5)):
        assert batch.shape == (3, 65)
        assert batch.dtype == torch.int64
        assert batch.min() >= 100
        assert batch.max() < 300
        assert (batch.diff() == 1).all()


def test_text_with_a_larger_vocabulary_than_the_model_is_refused_with_both_numbers(tmp_path: Path):
    data = text_folder(tmp_path, np.arange(1000), 16_384, heldout=100)
    with pytest.raises(ValueError, match=r"train.bin has a vocabulary of 16384 tokens, the model's is 8192: set args"):
        YocoLM().batches(data, None, 1, seed=0)


def test_a_language_model_without_data_says_what_to_set():
    with pytest.raises(ValueError, match=r"set data: text in conf/workload"):
        YocoLM().batches(None, None, 1, seed=0)


def test_the_learning_rate_rises_over_the_warm_up_and_stays():
    workload = YocoLM(learning_rate=8e-3, warmup_steps=4)
    model = small_model("sliding-window")
    optimizer = workload.optimizer(model)
    rates = []
    for _ in range(6):
        workload.loss(model, token_ids(1, 9)).backward()
        optimizer.step()
        rates.append([group["lr"] for group in optimizer.param_groups])
    assert [first for first, _ in rates] == pytest.approx([2e-3, 4e-3, 6e-3, 8e-3, 8e-3, 8e-3])
    assert all(first == second for first, second in rates)


def learnable_tokens(num_tokens: int) -> np.ndarray:
    """Each token fixes the next one nine times in ten: the unigram entropy is ln 64 = 4.16 nats, the true one 0.73."""
    rng = np.random.default_rng(0)
    successor, tokens = rng.permutation(64), [0]
    for noise, other in zip(rng.random(num_tokens - 1), rng.integers(64, size=num_tokens - 1), strict=True):
        tokens.append(int(other) if noise < 0.1 else int(successor[tokens[-1]]))
    return np.array(tokens)


@pytest.mark.slow
@pytest.mark.parametrize("mixer", MIXERS)
def test_heldout_loss_falls_well_below_the_unigram_entropy(mixer: str, tmp_path: Path):
    data = text_folder(tmp_path, learnable_tokens(20_000), 64, heldout=2000)
    workload = YocoLM(mixer=mixer, sequence_length=64, vocab_size=64, learning_rate=1e-2)
    model = small_model(mixer, chunk=16, window=8).float()
    optimizer, batches = workload.optimizer(model), workload.batches(data, None, 8, seed=0)
    assert workload.evaluate(model, data)["heldout_loss"] > 4.1
    for _ in range(60):
        workload.loss(model, next(batches)).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = workload.evaluate(model, data)
    assert after["heldout_loss"] < 2.5
    assert after["heldout_tokens"] == 31 * 64


def test_evaluation_is_deterministic_bounded_and_copes_with_a_short_split(tmp_path: Path):
    workload, model = YocoLM(sequence_length=64), small_model("sliding-window", num_layers=2).float()
    data = text_folder(tmp_path, np.arange(20_000) % 64, 64, heldout=19_000)
    assert workload.evaluate(model, data) == workload.evaluate(model, data)
    assert workload.evaluate(model, data)["heldout_tokens"] == 16_384
    data = text_folder(tmp_path, np.arange(1000) % 64, 64, heldout=20)
    assert workload.evaluate(model, data)["heldout_tokens"] == 19
    assert workload.evaluate(model, None) == {}
