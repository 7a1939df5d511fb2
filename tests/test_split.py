"""How a global batch is shared over a box's accelerators, by hand."""

from __future__ import annotations

import pytest

from plan_cases import HOST, TOY
from yocobench import config
from yocobench.estimate import memory
from yocobench.estimate.split import Split, TooLarge, processes, split

GIB = 2**30
SMALL = memory.MemoryNeed(fixed_bytes=GIB, per_item_bytes=0.1 * GIB)


def box(count, gib=16.0):
    """A g4dn with so many T4."""
    one = config.instance("g4dn.xlarge")
    shape = one.hardware.model_copy(update={"accelerator_count": count, "accelerator_memory_gib": gib})
    return one.model_copy(update={"hardware": shape})


@pytest.mark.parametrize(("count", "batch", "expected"), [(1, 16, 1), (4, 16, 4), (8, 16, 8), (8, 4, 4), (8, 12, 6)])
def test_one_process_for_each_gpu_that_the_global_batch_can_be_shared_with(count, batch, expected):
    workload = TOY.model_copy(update={"global_batch_size": batch})
    assert processes(workload, box(count), HOST) == expected


@pytest.mark.parametrize(("name", "expected"), [("trn1.2xlarge", 2), ("p4d.24xlarge", 8), ("c6i.8xlarge", 1)])
def test_the_catalogue_says_how_many(name, expected):
    assert processes(TOY, config.instance(name), HOST) == expected


def test_of_a_host_that_is_read_its_own_neuron_cores_or_gpus_count():
    local = config.instance("local")
    assert processes(TOY, local, HOST) == 1
    four = HOST.model_copy(update={"kind": "cuda", "accelerator_count": 4, "accelerator_memory_bytes": 16 * GIB})
    assert processes(TOY, local, four) == 4
    chip = {"kind": "neuron", "accelerator_count": 1, "accelerator_memory_bytes": 32 * GIB, "neuron_cores": 2}
    trainium = HOST.model_copy(update=chip)
    assert processes(TOY, local, trainium) == 2
    assert memory.usable_bytes(local, trainium) == 16 * GIB  # a core has half of the chip's


def test_the_global_batch_is_processes_times_accumulation_times_micro_batch():
    # 16 items over 4 GPUs are 4 each; 1 + 4 x 0.1 GiB fit in 16.
    assert split(TOY, box(4), SMALL, HOST) == Split(processes=4, micro_batch_size=4, accumulation_steps=1)
    # A share of 8 needs 1 + 8 GiB, 9 with 0.7 for the runtime, of 0.9 x 8 GiB: 4 items fit.
    large = memory.MemoryNeed(fixed_bytes=GIB, per_item_bytes=GIB)
    assert split(TOY, box(2, gib=8), large, HOST) == Split(2, 4, 2)


def test_a_stated_micro_batch_is_the_most_that_a_process_takes_at_once():
    stated = TOY.model_copy(update={"micro_batch_size": 8})
    assert split(stated, box(1), None, HOST) == Split(1, 8, 2)
    assert split(stated, box(4), None, HOST) == Split(4, 4, 1)
    with pytest.raises(ValueError, match=r"micro_batch_size 3 does not divide global_batch_size 16 shared by 4"):
        split(TOY.model_copy(update={"micro_batch_size": 3}), box(4), None, HOST)


def test_a_model_too_large_for_one_gpu_is_spread_over_all_of_them():
    heavy = memory.MemoryNeed(fixed_bytes=40 * GIB, per_item_bytes=0.1 * GIB)
    assert split(TOY, box(4), heavy, HOST) == Split(4, 4, 1, sharded=True)  # 10 GiB each
    with pytest.raises(TooLarge) as caught:
        split(TOY, box(2), heavy, HOST)
    # 20 GiB each, 0.1 for an item, 700 MiB for the runtime, of nine tenths.
    assert caught.value.needed_bytes == pytest.approx((20.1 + 700 / 1024) / 0.9 * GIB, rel=1e-6)
    with pytest.raises(TooLarge):
        split(TOY, config.instance("trn1.2xlarge"), heavy, HOST)  # torch_xla does not spread it


def test_a_model_too_large_for_one_gpu_is_spread_with_its_micro_batch_stated_too():
    heavy = memory.MemoryNeed(fixed_bytes=40 * GIB, per_item_bytes=0.1 * GIB)
    stated = TOY.model_copy(update={"micro_batch_size": 2})
    assert split(stated, box(4), heavy, HOST) == Split(4, 2, 2, sharded=True)
    with pytest.raises(TooLarge):
        split(stated, box(1), heavy, HOST)
    # 1 + 16 x 1 GiB are too much for 16 GiB, which the run finds out; one item fits, so nothing is spread.
    large = memory.MemoryNeed(fixed_bytes=GIB, per_item_bytes=GIB)
    assert split(TOY.model_copy(update={"micro_batch_size": 16}), box(1), large, HOST) == Split(1, 16, 1)


def test_what_a_sharded_model_gathers_has_to_fit_beside_its_share():
    # 40 GiB over 4 are 10 each; 4 more fit into 0.9 x 16 - 0.7 = 13.7 GiB not even for one item of 0.1.
    heavy = memory.MemoryNeed(fixed_bytes=40 * GIB, per_item_bytes=0.1 * GIB, gathered_bytes=4 * GIB)
    with pytest.raises(TooLarge):
        split(TOY, box(4), heavy, HOST)
    assert split(TOY, box(8), heavy, HOST).sharded  # 5 + 4
    assert heavy.peak_bytes(1) == int(40.1 * GIB)  # unsharded, nothing is gathered


def test_cpu_processes_share_the_memory():
    two = TOY.model_copy(update={"processes": 2})
    need = memory.MemoryNeed(fixed_bytes=GIB, per_item_bytes=0.45 * GIB)
    # Of 7.59 GiB (m5a.large: 7771 MiB seen) each has 3.79: 0.9 of it less 0.43 leave 2.99: 4 items fit, 8 do not.
    assert split(two, config.instance("m5a.large"), need, HOST) == Split(2, 4, 2)


def test_processes_that_do_not_divide_the_global_batch_are_refused():
    with pytest.raises(ValueError, match=r"conf/workload/toy.yaml: processes 3 does not divide global_batch_size 16"):
        processes(TOY.model_copy(update={"processes": 3}), box(4), HOST)
