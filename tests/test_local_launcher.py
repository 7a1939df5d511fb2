"""Real processes, real signals: what a repeat can die of, and what is kept."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from yocobench import config
from yocobench.bench import hardware, system
from yocobench.launchers.local import LocalLauncher
from yocobench.schema import CellSpec, Protocol, WorkloadConfig

pytestmark = pytest.mark.slow

PROTOCOL = {
    "repeats": 2,
    "warmup_steps": 2,
    "min_steps": 5,
    "max_steps": 6,
    "max_measure_s": 30,
    "target_relative_half_width": 1e-6,
    "timeout_s": 60,
    "seed": 0,
}


@pytest.fixture(scope="module", autouse=True)
def toys_importable():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


def spec(micro=4, protocol=None, threads=None, **args):
    return CellSpec(
        workload=WorkloadConfig(
            name="toy",
            _target_="toys.Toy",
            data=None,
            sample_unit="sample",
            global_batch_size=8,
            compile=False,
            threads=threads,
            args=args,
        ),
        subset="smoke",
        dataset_path=None,
        dataset_items=None,
        dataset_md5=None,
        instance="local",
        kind="cpu",
        precision="fp32",
        accelerator_count=0,
        micro_batch_size=micro,
        accumulation_steps=8 // micro,
        protocol=Protocol(**{**PROTOCOL, **(protocol or {})}),
        code_md5="0" * 32,
        host_id="h",
    )


def measure(cell, report=lambda progress: None):
    return LocalLauncher().run(cell, config.instance("local"), Path.cwd(), report)


@pytest.fixture
def child():
    """The process id of the running repeat, found as this test's child."""
    import psutil

    def find():
        for _ in range(200):
            for process in psutil.Process().children():
                if "yocobench.bench.measure" in " ".join(process.cmdline()):
                    return process.pid
            time.sleep(0.05)
        raise AssertionError("no repeat was started")

    return find


@pytest.fixture(scope="module")
def whole():
    """Two repeats as they should be, and the phases that were told."""
    phases = []
    return measure(spec(), lambda progress: phases.append((progress.repeat, progress.phase))), phases


def test_every_step_of_every_repeat_is_kept_and_set_up_is_apart(whole):
    found, phases = whole
    assert found.outcome == "ok"
    assert [r.outcome for r in found.repeats] == ["ok", "ok"]
    for repeat in found.repeats:
        assert len(repeat.step_times_s) == len(repeat.data_wait_s) == len(repeat.losses) == 6  # max_steps
        assert len(repeat.warmup_step_times_s) == 2
        assert repeat.samples_per_step == 8
        assert min(repeat.import_s, repeat.first_step_s) > 0
        assert repeat.peak_memory_bytes > 2**24
        assert repeat.num_parameters == 8 * 8 + 8
    assert found.repeats[0].heldout == {"initial_heldout_loss": 1.5, "heldout_loss": 1.5}
    assert found.repeats[1].heldout == {}  # evaluated once: it is not timed, but it is paid
    assert phases[0] == (0, "setup")
    assert (1, "measure") in phases
    assert found.versions["torch"]


def test_warm_up_lasts_until_steps_are_alike_or_its_cap_is_reached():
    # Each batch takes 30 ms less than the one before, down to none at the tenth.
    (settling,) = measure(spec(micro=8, slower_s=0.03, protocol={"repeats": 1, "max_warmup_s": 20})).repeats
    assert settling.warmup_settled is True
    assert len(settling.warmup_step_times_s) >= 6
    assert len(settling.step_times_s) == 6
    (capped,) = measure(spec(micro=8, slower_s=0.03, protocol={"repeats": 1, "max_warmup_s": 0.1})).repeats
    assert capped.warmup_settled is False
    assert len(capped.warmup_step_times_s) == 2  # the fewest, which take longer than the cap already


def test_what_else_the_host_did_and_the_harness_took_is_kept(whole):
    found = whole[0].repeats[0]
    assert found.harness_s > 0
    assert found.activity.gpu_throttle == ()
    assert found.warmup_settled is None  # a fixed number of warm-up steps


def test_a_sweep_can_take_one_repeat_of_each_cell_in_turn():
    local = config.instance("local")
    (only,) = LocalLauncher(repeat=1).run(spec(), local, Path.cwd(), lambda progress: None).repeats
    assert (only.repeat, only.outcome) == (1, "ok")
    with pytest.raises(ValueError, match=r"launcher.repeat: 2 is not one of 0 to 1 \(protocol.repeats: 2\)"):
        LocalLauncher(repeat=2).run(spec(), local, Path.cwd(), lambda progress: None)


def test_a_smaller_micro_batch_accumulates_to_the_same_global_batch():
    parts = measure(spec(micro=2, protocol={"repeats": 1})).repeats[0]
    assert (parts.accumulation_steps, parts.samples_per_step) == (4, 8)


def test_nan_is_an_outcome_and_stops_the_cell():
    found = measure(spec(fault="nan", at=9))
    assert found.outcome == "diverged"
    assert "nan" in found.reason
    assert len(found.repeats) == 1


def test_out_of_memory_is_an_outcome():
    found = measure(spec(fault="out of memory", at=12))
    assert found.outcome == "out_of_memory"
    assert len(found.repeats[0].step_times_s) == 3  # 12 batches are 6 steps: first, two warm-up, three timed


def test_a_step_that_really_runs_out_of_memory_is_tried_with_half_the_items_until_it_fits():
    # 880 MiB for the process: 8 items keep 1600, 4 keep 800 (more than nine tenths), 2 keep 400.
    few = {"warmup_steps": 1, "min_steps": 3, "max_steps": 3}  # each clears 1.6 GB of memory
    cell = spec(micro=8, item_mib=200, limit_mib=880, protocol=few, threads=1)  # the stack of a second is memory, too
    found = measure(cell)
    assert found.outcome == "ok"
    first, second = found.repeats
    fitting = first.micro_batch_size  # what else the process maps differs from run to run
    assert fitting in (1, 2)
    assert (fitting * first.accumulation_steps, first.samples_per_step) == (8, 8)
    tried = [text.partition(":")[0] for text in first.warnings if text.startswith("micro-batch")]
    assert tried == ["micro-batch 8", "micro-batch 4", "micro-batch 2"][: 4 - fitting]
    assert "you tried to allocate 1677721600 bytes" in first.warnings[0]
    assert first.available_memory_bytes <= 880 * 2**20
    assert second.micro_batch_size == fitting  # what was found is not searched for again
    assert not any(text.startswith("micro-batch") for text in second.warnings)


def test_what_cannot_train_one_item_does_not_fit_and_says_the_bytes():
    found = measure(spec(micro=2, item_mib=500, limit_mib=400))
    assert found.outcome == "does_not_fit"
    (only,) = found.repeats
    assert found.reason.startswith("not even micro-batch 1 fits: ")
    assert "tried to allocate 524288000 bytes" in found.reason
    assert f"; {only.peak_memory_bytes:,} bytes were in use; {only.available_memory_bytes:,} bytes" in found.reason
    assert only.step_times_s == ()


@pytest.mark.parametrize("killed", [True, False], ids=["by the kernel", "by somebody"])
def test_a_repeat_that_the_kernel_killed_for_memory_is_told_from_one_that_somebody_killed(
    killed, monkeypatch, tmp_path
):
    counter = tmp_path / "vmstat"
    counter.write_text("oom_kill 3\n")
    monkeypatch.setattr(system, "VMSTAT", counter)

    def count(progress):
        if killed:
            counter.write_text("oom_kill 4\n")  # as the kernel does; the signal is real

    found = measure(spec(micro=1, fault="killed", at=0), count)
    assert found.outcome == ("does_not_fit" if killed else "killed")
    if killed:
        assert "the kernel killed it for want of memory" in found.reason
        assert "bytes were available" in found.reason


def test_a_corpus_that_vanishes_is_the_users_error_with_its_path():
    with pytest.raises(ValueError, match=r"data/text/train.bin: gone at batch 9"):
        measure(spec(fault="vanished", at=9))


def test_a_corpus_that_vanishes_in_a_later_repeat_keeps_the_earlier_one():
    found = measure(spec(fault="vanished", at=9, only_seed=1))
    assert found.outcome == "interrupted"
    assert found.reason == "data/text/train.bin: gone at batch 9"
    assert [r.outcome for r in found.repeats] == ["ok", "interrupted"]


def test_a_mistake_in_the_users_own_code_is_said_with_its_place():
    with pytest.raises(ValueError, match=r"^ValueError: too many values to unpack \(.*toys.py:\d+, in _fail\)$"):
        measure(spec(fault="mistake", at=0))


def test_batches_that_end_are_the_users_mistake():
    with pytest.raises(ValueError, match=r"batches\(\) of Toy ended; it must go on"):
        measure(spec(fault="ended", at=0))


def test_a_bug_is_a_failure_with_its_traceback():
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*ZeroDivisionError: a bug in the workload"):
        measure(spec(fault="bug", at=9))


def test_a_bug_is_told_without_the_megabytes_that_were_printed_before_it():
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError: a bug in the workload$") as caught:
        measure(spec(fault="wordy bug", at=0))
    assert len(str(caught.value)) < 40000


def test_a_bug_after_steps_that_were_told_keeps_them(capfd):
    found = measure(spec(fault="bug", at=100, sleep_s=0.02, protocol={"max_steps": 1000, "max_measure_s": 60}))
    assert (found.outcome, found.reason) == ("interrupted", "ZeroDivisionError: a bug in the workload")
    (only,) = found.repeats
    assert 0 < len(only.step_times_s) < 50
    assert "Traceback" in capfd.readouterr().err


def test_a_bug_in_a_later_repeat_keeps_the_earlier_one(capfd):
    found = measure(spec(fault="bug", at=9, only_seed=1))
    assert [r.outcome for r in found.repeats] == ["ok", "interrupted"]
    assert found.reason == "ZeroDivisionError: a bug in the workload"
    assert "Traceback" in capfd.readouterr().err


def test_kill_9_of_a_repeat_is_an_outcome_that_names_the_signal():
    found = measure(spec(fault="killed", at=9))
    assert found.outcome == "killed"
    assert "SIGKILL" in found.reason


def test_kill_9_in_a_later_repeat_keeps_the_earlier_one_and_the_steps_it_told(child):
    cell = spec(protocol={"max_steps": 1000, "max_measure_s": 3}, sleep_s=0.02)

    def kill_second(progress):
        if progress.repeat == 1 and progress.phase == "measure":
            os.kill(child(), signal.SIGKILL)

    found = measure(cell, kill_second)
    assert found.outcome == "ok"  # one whole repeat stands
    assert [r.outcome for r in found.repeats] == ["ok", "killed"]
    assert len(found.repeats[1].step_times_s) > 0
    assert found.repeats[1].samples_per_step == 8


def test_a_hanging_repeat_ends_as_timeout():
    found = measure(spec(fault="hang", at=9, protocol={"timeout_s": 8}))
    assert found.outcome == "timeout"
    assert "protocol.timeout_s = 8 s" in found.reason


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_the_repeat_and_keep_its_steps(number):
    cell = spec(protocol={"max_steps": 10000, "max_measure_s": 60}, sleep_s=0.02)
    sent = []

    def interrupt(progress):
        if progress.phase == "measure" and not sent:
            sent.append(number)
            threading.Timer(0.1, os.kill, (os.getpid(), number)).start()

    found = measure(cell, interrupt)
    assert found.outcome == "interrupted"
    assert found.reason.startswith(f"{number.name} after ")
    (only,) = found.repeats
    assert len(only.step_times_s) > 0
    assert signal.getsignal(number) is not None


def test_a_host_that_is_not_the_type_is_not_measured():
    found = LocalLauncher().run(spec(), config.instance("p4d.24xlarge"), Path.cwd(), lambda progress: None)
    assert found.outcome == "unmeasured"
    assert "not a p4d.24xlarge" in found.reason
    assert (found.detected, found.repeats) == (hardware.detect(), ())
