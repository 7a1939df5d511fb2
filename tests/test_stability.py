"""When warm-up ends, what timed steps show, and the verdict with what to do."""

import subprocess
import sys

import numpy as np
import pynvml
import pytest

from yocobench.bench import activity
from yocobench.bench.activity import Watch
from yocobench.bench.measurement import HostActivity
from yocobench.bench.stability import disturbances, is_stationary, stability, trends

FLAT = [0.100, 0.101, 0.099, 0.100, 0.101, 0.099]


def test_warm_up_goes_on_while_steps_get_faster_or_slower():
    # A perfect trend over six steps has p = 2/6! = 0.003.
    assert not is_stationary([0.16, 0.15, 0.14, 0.13, 0.12, 0.11])
    assert not is_stationary([0.11, 0.12, 0.13, 0.14, 0.15, 0.16])
    assert is_stationary(FLAT)


def test_too_few_steps_are_never_called_stationary():
    assert not is_stationary(FLAT[:5])


def test_only_the_later_half_is_tested():
    falling = [0.2 - 0.01 * i for i in range(12)]
    assert not is_stationary(falling)
    assert is_stationary(falling + FLAT * 2)


def test_a_sure_trend_of_less_than_a_per_cent_ends_warm_up():
    assert is_stationary([0.1005, 0.1004, 0.1003, 0.1002, 0.1001, 0.1000])
    assert not is_stationary([0.110, 0.108, 0.106, 0.104, 0.102, 0.100])


def test_equal_steps_are_stationary():
    assert is_stationary([0.1] * 6)


def noisy(level, count, jitter=0.01):
    return [level * (1 + jitter * (-1) ** i) for i in range(count)]


def test_steady_steps_show_nothing():
    assert trends(noisy(0.1, 60)) == ()
    assert trends(noisy(0.1, 5)) == ()


def test_slow_first_steps_are_named_warm_up():
    (found,) = trends(noisy(0.15, 15) + noisy(0.1, 45))
    assert found.trend == "warm_up"
    assert found.change == pytest.approx(0.5, abs=0.03)


def test_slow_last_steps_are_throttling_and_credits_on_a_burstable_type():
    times = noisy(0.1, 40) + noisy(0.2, 20)
    (found,) = trends(times)
    assert found.trend == "throttling"
    assert found.at_step == 40
    (credits,) = trends(times, burstable=True)
    assert credits.trend == "burst_credits"
    assert "100 % longer" in credits.text


def test_noise_alone_is_no_trend():
    times = [0.1, 0.3, 0.15, 0.22, 0.11, 0.28] * 8
    assert trends(times) == ()


def test_three_steps_that_happen_to_agree_are_no_trend():
    # Last quarter 0.110, 0.111, 0.110 and second 0.100, 0.101, 0.100: medians without an error, but 0.115 lies between.
    assert trends([0.1, 0.12, 0.09, 0.1, 0.101, 0.1, 0.115, 0.09, 0.095, 0.11, 0.111, 0.11]) == ()
    # First quarter 0.110 but for 0.090; of its 18 pairs with the last half it is slower in 8.
    assert trends([0.11, 0.11, 0.09, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.112, 0.12]) == ()


def test_steps_that_all_took_longer_are_a_trend_though_they_are_few():
    level = [0.1, 0.101, 0.102, 0.103]
    (found,) = trends([0.15, 0.151, 0.152, *level, *level, 0.1])  # 3 above 6: 1 order of 84
    assert (found.trend, found.at_step) == ("warm_up", 3)
    (found,) = trends([*level, *level, 0.15, 0.151, 0.152, 0.153])  # 4 above 4: 1 order of 70
    assert (found.trend, found.at_step) == ("throttling", 8)


@pytest.mark.parametrize("steps", [12, 24])
def test_of_independent_steps_hardly_any_show_a_trend_and_of_slower_ones_most_do(steps):
    random = np.random.default_rng(0)
    even = random.normal(0.1, 0.005, (500, steps))
    assert sum(bool(trends(times)) for times in even) <= 10  # 2 %; by the medians' errors alone 47, 14
    slower = even[:100] * np.where(np.arange(steps) < 2 * steps // 3, 1, 1.3)
    assert sum(bool(trends(times)) for times in slower) >= 96


# --- the verdict ------------------------------------------------------------------------------------------------

QUIET = HostActivity(steal_share=0.0, other_share=0.01, cpu_throttle_events=0)


def test_steady_steps_on_a_quiet_host_are_steady():
    found = stability(noisy(0.1, 60), QUIET, target=0.01)
    assert (found.verdict, found.reasons) == ("steady", ())


def test_a_trend_is_named_before_all_else_with_what_to_do():
    found = stability(noisy(0.15, 15) + noisy(0.1, 45), HostActivity(other_share=0.5), target=0.01)
    assert found.verdict == "trending"
    assert found.reasons == (
        "the first 15 steps took 51 % longer than later ones: warm-up was too short; raise protocol.max_warmup_s",
        "other processes took 50 % of the CPU time: stop them and measure again",
    )


def test_steps_that_scatter_on_a_quiet_host_are_noisy():
    found = stability([0.1, 0.3, 0.15, 0.22, 0.11, 0.28] * 8, QUIET, target=0.01)
    assert found.verdict == "noisy"
    assert found.reasons[0].endswith("not 1.0 %: raise protocol.max_measure_s")


def test_many_outliers_are_noise_too():
    found = stability(([0.1, 0.1001] * 6 + [0.11]) * 5, QUIET, target=0.5)
    assert found.reasons == ("5 of 65 steps are outliers: see step_time_s in the run",)


def test_each_disturbance_is_told_with_a_remedy():
    seen = HostActivity(
        steal_share=0.03,
        other_share=0.2,
        cpu_throttle_events=4,
        gpu_throttle=("hardware thermal slowdown", "power brake"),
    )
    assert disturbances(seen) == (
        "the GPU slowed down (hardware thermal slowdown, power brake): check cooling and power supply",
        "the CPU throttled 4 time(s) for heat: check cooling",
        "the hypervisor gave 3.0 % of the CPU time to others (a noisy neighbour, or spent CPU credits): "
        "measure again, or on another host",
        "other processes took 20 % of the CPU time: stop them and measure again",
    )
    assert disturbances(QUIET) == disturbances(HostActivity()) == disturbances(None) == ()


def test_few_steps_have_no_verdict():
    assert stability([0.1] * 11, QUIET, target=0.01) is None


# --- what the host did ------------------------------------------------------------------------------------------


def test_what_this_process_does_is_not_other_load_and_throttling_is_counted_by_difference(tmp_path):
    counts = [tmp_path / f"cpu{i}/thermal_throttle/core_throttle_count" for i in (0, 1)]
    for path in counts:
        path.parent.mkdir(parents=True)
        path.write_text("7\n")
    watch = Watch(tmp_path)
    counts[1].write_text("10\n")
    while (seen := watch.seen()).other_share is None:  # until the kernel's clock has ticked
        pass
    assert 0 <= seen.other_share <= 1
    assert 0 <= seen.steal_share <= 1
    assert seen.cpu_throttle_events == 3


def test_what_an_ended_child_used_stays_this_processs_own(tmp_path):
    watch = Watch(tmp_path)
    before = activity._own_s()
    subprocess.run([sys.executable, "-c", "while __import__('time').process_time() < 0.6: pass"], check=True)
    assert activity._own_s() - before >= 0.5
    assert watch.seen().other_share is not None


def test_a_gpu_at_its_power_limit_is_a_fact_and_one_that_is_too_hot_a_disturbance(tmp_path, monkeypatch):
    capped, hot = pynvml.nvmlClocksEventReasonSwPowerCap, pynvml.nvmlClocksEventReasonHwThermalSlowdown
    bits = [[], [0, capped], [hot]]
    monkeypatch.setattr(activity, "_clock_reasons", lambda: bits.pop(0))
    watch = Watch(tmp_path)
    assert (watch.seen().gpu_power_capped, watch.seen().gpu_power_capped) == (None, True)
    last = watch.seen()
    assert (last.gpu_power_capped, last.gpu_throttle) == (True, ("hardware thermal slowdown",))
    assert disturbances(HostActivity(gpu_power_capped=True)) == ()


def test_where_the_kernel_counts_no_throttling_it_is_unknown(tmp_path):
    assert Watch(tmp_path).seen().cpu_throttle_events is None
