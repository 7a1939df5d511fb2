"""Several processes, really started by torchrun's agent over gloo: the losses of one, and every way to end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch.distributed as dist

from test_local_launcher import child, measure, spec, toys_importable  # noqa: F401 (fixtures)
from yocobench.bench import measure as in_this_process
from yocobench.bench.data import text
from yocobench.bench.parallel import Group
from yocobench.launchers.local import LocalLauncher
from yocobench.schema import WorkloadConfig

pytestmark = pytest.mark.slow

ONE = {"repeats": 1}
SHORT = {"repeats": 1, "warmup_steps": 1, "min_steps": 3, "max_steps": 3}


def alone(cell, root: Path):
    """The one repeat of a cell of one process, measured in this one: torch is imported already."""
    found = in_this_process.measure(cell, 0, root, lambda told: None)
    assert found.outcome == "ok", found.reason
    return found


def group(processes=2, micro=4, sharded=False, **more):
    """The toy's cell, its 8 items a step shared between processes."""
    one = spec(micro=micro, **more)
    return one.model_copy(
        update={"processes": processes, "accumulation_steps": 8 // micro // processes, "sharded": sharded}
    )


def yoco(root: Path, processes: int, sharded: bool = False):
    """yoco-lm, as small as its tiny size goes, on random tokens."""
    folder = root / "data/text"
    folder.mkdir(parents=True, exist_ok=True)
    tokens = np.random.default_rng(0).integers(0, 64, 400).astype("<u2")
    for name, part in (("train.bin", tokens), ("heldout.bin", tokens[:70])):
        (folder / name).write_bytes(text.header(64, len(part)) + part.tobytes())
    workload = WorkloadConfig(
        name="yoco-lm",
        _target_="yocobench.bench.workloads.yoco_lm.YocoLM",
        data="text",
        sample_unit="token",
        global_batch_size=2,
        compile=False,
        threads=1,  # more would spin for each other where other tests keep the cores busy
        args={"size": "tiny", "sequence_length": 16, "chunk": 16, "vocab_size": 64},
    )
    update = {
        "workload": workload,
        "dataset_path": "data/text",
        "dataset_items": 400,
        "sharded": sharded,
    }
    update |= {"micro_batch_size": 1, "accumulation_steps": 2 // processes, "processes": processes}
    return spec(protocol=SHORT).model_copy(update=update)


@pytest.fixture(scope="module")
def one_process():
    """The toy's losses of one process."""
    return alone(spec(micro=2, protocol=ONE), Path.cwd())


@pytest.mark.parametrize("sharded", [False, True], ids=["replicated", "sharded"])
def test_two_processes_have_the_losses_of_one_to_rounding(one_process, sharded):
    cell = group(micro=2, sharded=sharded, protocol=ONE)
    cell = cell.model_copy(update={"workload": cell.workload.model_copy(update={"channels_last": sharded})})
    both = measure(cell).repeats[0]
    assert both.outcome == "ok"
    assert (both.processes, both.accumulation_steps, both.samples_per_step) == (2, 2, 8)
    np.testing.assert_allclose(both.losses, one_process.losses, rtol=1e-6)
    assert len(set(both.losses)) == len(both.losses) == 6
    if sharded:
        assert both.scaling_efficiency is None  # no process could step alone
        assert "channels_last was left out" in both.warnings[0]
    else:
        assert both.scaling_efficiency > 0


def test_a_compiled_model_trains_the_same_on_two_processes(one_process):
    cell = group(micro=2, protocol=ONE)
    cell = cell.model_copy(update={"workload": cell.workload.model_copy(update={"compile": True})})
    both = measure(cell).repeats[0]
    assert both.compiled, both.warnings
    np.testing.assert_allclose(both.losses, one_process.losses, rtol=1e-5)


def test_the_language_model_learns_the_same_on_one_process_and_on_two_replicated_or_sharded(tmp_path: Path):
    def run(cell):
        found = LocalLauncher()._measure(cell, tmp_path, None, lambda progress: None).repeats[0]
        assert found.outcome == "ok", found.reason
        return found

    one = alone(yoco(tmp_path, 1), tmp_path)
    for sharded in (False, True):
        two = run(yoco(tmp_path, 2, sharded))
        np.testing.assert_allclose(two.losses, one.losses, rtol=2e-5)
        assert two.heldout["heldout_loss"] == pytest.approx(one.heldout["heldout_loss"], rel=2e-5)
    assert one.losses[-1] != one.losses[0]


def test_nobodys_clock_starts_before_the_last_has_come():
    store, went = dist.HashStore(), []

    def come(rank: int) -> None:
        mine = Group(rank, 3, store)
        for meeting in range(2):
            if rank == 2:
                time.sleep(0.2)
                went.append(f"last came to {meeting}")
            mine.meet()
            went.append(f"{meeting}")

    threads = [threading.Thread(target=come, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert went == ["last came to 0", *["0"] * 3, "last came to 1", *["1"] * 3]
    Group().meet()  # one process waits for nobody


def ranks() -> list[psutil.Process]:
    """The training processes under this one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "yocobench.bench.measure" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def rank_of(process: psutil.Process) -> int:
    return int(process.environ()["RANK"])


def when_measuring(act):
    """A listener that acts once, at the first timed steps; and the ranks that were running then."""
    seen: list[psutil.Process] = []

    def listen(progress):
        if progress.phase == "measure" and not seen:
            seen.extend(sorted(ranks(), key=rank_of))
            threading.Timer(0.1, act, (seen,)).start()

    return listen, seen


LONG = {"repeats": 1, "max_steps": 100000, "max_measure_s": 60}


def nobody_is_left(seen: list[psutil.Process]) -> bool:
    gone, alive = psutil.wait_procs(seen, timeout=10)
    return len(gone) >= 2 and not alive


def test_kill_9_of_one_rank_ends_the_group_and_is_an_outcome_with_the_steps_told():
    listen, seen = when_measuring(lambda found: found[1].kill())
    found = measure(group(protocol=LONG, sleep_s=0.02), listen)
    assert found.outcome == "killed"
    assert "SIGKILL" in found.reason
    assert len(found.repeats[0].step_times_s) > 0
    assert nobody_is_left(seen)


def test_ctrl_c_ends_every_rank_and_keeps_the_steps():
    listen, seen = when_measuring(lambda found: os.kill(os.getpid(), signal.SIGINT))
    found = measure(group(protocol=LONG, sleep_s=0.02), listen)
    assert found.outcome == "interrupted"
    assert len(found.repeats[0].step_times_s) > 0
    assert nobody_is_left(seen)


def test_kill_9_of_the_agent_leaves_no_rank_behind():
    listen, seen = when_measuring(lambda found: found[0].parent().kill())
    found = measure(group(protocol=LONG, sleep_s=0.02), listen)
    assert found.outcome == "killed"
    assert nobody_is_left(seen)


def test_a_rank_that_hangs_ends_the_group_at_the_timeout():
    before = time.monotonic()
    found = measure(group(fault="hang", at=9, only_rank=1, protocol={"timeout_s": 15}))
    assert found.outcome == "timeout"
    assert time.monotonic() - before < 15 + 2 * 20  # the launcher's two graces
    assert ranks() == []


def test_a_rank_that_runs_out_of_memory_is_an_outcome_that_names_it():
    found = measure(group(fault="out of memory", at=9, only_rank=1))
    assert found.outcome == "out_of_memory"
    assert found.reason == "rank 1: no more memory"


def test_a_first_step_that_does_not_fit_starts_anew_with_half_the_micro_batch():
    found = measure(group(fault="too large", at=2, protocol=ONE)).repeats[0]
    assert found.outcome == "ok"
    assert (found.micro_batch_size, found.accumulation_steps, found.samples_per_step) == (2, 2, 8)


def test_a_users_mistake_is_said_once_whoever_meets_it():
    with pytest.raises(ValueError, match=r"data/text/train.bin: gone at batch 9") as caught:
        measure(group(fault="vanished", at=9, protocol=ONE))
    assert str(caught.value).count("gone") == 1


def test_two_boxes_meet_at_the_rendezvous_and_one_has_the_numbers(tmp_path: Path):
    cell = group(protocol=ONE)
    code = (
        "import sys; from pathlib import Path; from yocobench.schema import CellSpec\n"
        "from yocobench.launchers.local import LocalLauncher\n"
        "cell = CellSpec.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "launcher = LocalLauncher(boxes=2, rendezvous=sys.argv[2])\n"
        "print(launcher._measure(cell, Path.cwd(), None, lambda progress: None).outcome)\n"
    )
    (tmp_path / "cell.json").write_text(cell.model_dump_json(by_alias=True))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        meeting = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, "-c", code, str(tmp_path / "cell.json"), meeting]
    boxes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(box.communicate(timeout=100)[0].strip() for box in boxes) == ["ok", "unmeasured"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            "nowhere.invalid:29400",
            r"nowhere.invalid:29400 was not reached from this box: .*; name one of the boxes, by an",
        ),
        (
            "localhost:{free}",
            r"localhost:\d+: not all launcher.boxes \(2\) came within 5 s \(protocol.timeout_s\); run",
        ),
    ],
    ids=["no such place", "alone"],
)
def test_boxes_that_do_not_meet_are_one_line(place: str, said: str):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        meeting = place.format(free=free.getsockname()[1])
    # The launcher's own limit is the same one, and would be first: the agent gets its 5 s of it.
    launcher = LocalLauncher(boxes=2, rendezvous=meeting)
    cell = group(protocol=ONE)
    entry = launcher._entry
    launcher._entry = lambda spec, number: [*entry(spec, number), "--join-timeout", "5"]
    with pytest.raises(ValueError, match=rf"^launcher.rendezvous {said}[^\n]*$") as caught:
        launcher._measure(cell, Path.cwd(), None, lambda progress: None)
    assert str(caught.value).count("\n") == 0
