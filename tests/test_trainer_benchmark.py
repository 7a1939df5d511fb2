"""The yardstick of benchmarks/trainer.py itself: its sums, by hand."""

import pytest

import benchmark_modules


@pytest.fixture(scope="module")
def bench():
    return benchmark_modules.load("trainer")


def contestant(bench, model, seconds, rates):
    """100 FLOPs and 20 tokens a step."""
    return bench.Contestant(model, "eager", None, 100.0, 20, list(seconds), list(rates))


def test_utilisation_is_against_the_products_beside_the_step(bench):
    # 100 FLOPs in 2 s beside 80 FLOP/s: 62.5 %; in 4 s beside 50 FLOP/s, when others took half of the host: 50 %
    assert contestant(bench, "a", (2, 4), (80, 50)).utilisation() == [0.625, 0.5]


def test_the_ratio_is_taken_round_by_round_at_equal_speed_of_the_host(bench):
    # rounds: 2 s against 3 s on an equal host: 1.5; 4 s against 3 s while the host was half as fast: 1.5; 1 s, 1 s: 1
    one = contestant(bench, "one", (2, 4, 1), (80, 40, 80))
    other = contestant(bench, "transformer", (3, 3, 1), (80, 80, 80))
    assert bench.median_ratio(one, other) == pytest.approx(1.5)
    first, second = bench.rows([one, other], bench.Slice("tiny", 512, 1, "bf16"))
    assert first == ("512", "1", "bf16", "one", "eager", "62.5 %", "62 to 125", "1.50", "10", "0", "")
    assert second[7] == "1.00"
    # 100 FLOPs in the median 2 s are 50 FLOP/s, of 200 a quarter
    first, _ = bench.rows([one, other], bench.Slice("tiny", 512, 1, "bf16"), peak_tflops=200e-12)
    assert first[-1] == "25.0 %"


def test_each_figure_is_held_against_its_target(bench):
    one = contestant(bench, "one", (2, 4, 1), (80, 40, 80))
    other = contestant(bench, "transformer", (3, 3, 1), (80, 80, 80))
    share, ratio = bench._results([one, other], bench.Slice("tiny", 2048, 1, "fp32"))
    # shares 100 / (2 * 80), 100 / (4 * 40), 100 / (1 * 80): median 0.625 of 80 FLOP/s; the ratio as above
    assert (share.ratio, share.target, share.met) == (0.625, "at least 80%", False)
    assert (ratio.ratio, ratio.target, ratio.met) == (pytest.approx(1.5), "at least 1.3", True)


def test_a_step_has_as_many_tokens_at_every_length(bench, tmp_path):
    for length, sequences in ((512, 4), (2048, 1), (4096, 1)):
        order = bench.spec("transformer", "eager", bench.Slice("tiny", length, 1, "fp32"), tmp_path)
        assert order.workload.global_batch_size == sequences
        assert order.workload.compile is False
    order = bench.spec("transformer", "compiled", bench.Slice("160m", 4096, 8, "bf16", "cuda", 65_536), tmp_path)
    assert (order.kind, order.accelerator_count, order.workload.global_batch_size) == ("cuda", 1, 16)
