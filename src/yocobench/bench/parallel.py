"""Several training processes as one: rank 0 leads and measures, the others follow; the global batch is shared evenly.

Rank 0 runs bench/measure.py as if it were alone. What all ranks must do together (build, step, evaluate) it announces
on the key-value store of torchrun's rendezvous, outside every clock, and the others do the same (bench/follow.py).
Gradients are averaged by DistributedDataParallel, or by fully_shard where the model is spread over the devices; on a
device that averages them inside its own step (torch_xla) the model stays as it is.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

PEER_S = 10.0
"""How long rank 0 waits, when a collective broke, for the signal that follows the end of another rank."""
AGENT = os.getppid()
COMMAND, MEETING = "yocobench/command/{}", "yocobench/meeting/{}"


@dataclass
class Group:
    """The processes that train one model. Of size 1: every method does nothing."""

    rank: int = 0
    size: int = 1
    store: Any = None
    _told: int = field(default=0, init=False)
    _met: int = field(default=0, init=False)

    def lead(self, *words: str) -> None:
        """Rank 0: have the others do the same. On the others: nothing, they were told already."""
        if self.size > 1 and self.rank == 0:
            self.store.set(COMMAND.format(self._told), " ".join(words))
            self._told += 1

    def follow(self) -> list[str]:
        """The next announcement of rank 0. Raises RuntimeError when it takes longer than the group's timeout."""
        words = self.store.get(COMMAND.format(self._told)).decode().split()
        self._told += 1
        return list(words)

    def meet(self) -> None:
        """Wait for all ranks: before a clock starts, for else it holds what the slowest took to hear of the command.

        By the store, since a collective would become part of the graph where steps are traced.
        """
        if self.size > 1:
            key = MEETING.format(self._met)
            self._met += 1
            if self.store.add(key, 1) == self.size:
                self.store.set(f"{key}/all", "")
            self.store.wait([f"{key}/all"])

    def mean(self, loss: Tensor) -> Tensor:
        """Mean over the ranks, still on the device."""
        if self.size > 1:
            dist.all_reduce(loss)
            loss /= self.size
        return loss


@functools.cache
def group(backend: str, timeout_s: float) -> Group:
    """The group that torchrun made this process a member of; without torchrun, one process alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Group()
    timeout = dt.timedelta(seconds=timeout_s)
    dist.init_process_group(backend, timeout=timeout)
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(host, port, is_master=False, timeout=timeout)  # type: ignore[attr-defined]
    return Group(dist.get_rank(), dist.get_world_size(), store)


def leave() -> None:
    """End the membership, if there is one. Not after a failure: NCCL waits for ranks that wait for this one then."""
    if _is_member():
        dist.destroy_process_group()


def finish(status: int) -> NoReturn:
    """End this process. A member that failed ends at once: the interpreter would take the group down on its way out.

    NCCL waits for all ranks of a box in that, also to abort (NVIDIA/nccl#863, pytorch/torchtitan#1342), and those are
    in a collective that this one never joins: the reason would be told when the group's timeout is over.
    """
    if status and _is_member():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _is_member() -> bool:
    return dist.is_available() and dist.is_initialized()


@contextlib.contextmanager
def peers(expected: int) -> Iterator[None]:
    """Around what rank 0 does: when another rank ends, collectives break here first, and the reason follows.

    torchrun then ends this rank by a signal; only if none comes was the error this rank's own.
    """
    try:
        yield
    except RuntimeError as error:
        if expected > 1 and not isinstance(error, torch.OutOfMemoryError):
            deadline = time.monotonic() + PEER_S
            while os.getppid() == AGENT and time.monotonic() < deadline:
                time.sleep(0.1)
        raise


Replica = Callable[[Any], Tensor]
"""The loss for a batch."""


class _WithLoss(nn.Module):
    """A model and its loss as one module: the workload sees its own model, and both compile as one graph."""

    def __init__(self, model: nn.Module, loss: Callable[[nn.Module, Any], Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> Tensor:
        return self.loss(self.model, batch)


def replicate(model: nn.Module, loss: Callable[[nn.Module, Any], Tensor], device: torch.device) -> Replica:
    """A copy on every rank, its gradients averaged while the backward pass still runs.

    Buffers are each rank's own: the running statistics of rank 0, which evaluates, are those of its share.
    """
    index = None if device.type == "cpu" else [device]
    both = _WithLoss(model, loss)
    return DistributedDataParallel(both, device_ids=index, broadcast_buffers=False, gradient_as_bucket_view=True)


def shard(model: nn.Module, device: torch.device, size: int) -> nn.Module:
    """Parameters, gradients and optimiser state spread over the ranks, gathered block by block as they are used."""
    from torch.distributed.fsdp import fully_shard  # 0.6 s to import, for every measured process

    mesh = init_device_mesh(device.type, (size,))
    for block in blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost lists and sequences: a model's layers, as nearly every model is written."""
    for child in model.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            for member in child.children():
                if isinstance(member, nn.ModuleList | nn.ModuleDict):
                    yield from blocks(member)
                elif any(True for _ in member.parameters()):
                    yield member
        else:
            yield from blocks(child)


def reduction(replica: Replica, now: bool) -> AbstractContextManager[Any]:
    """Around a micro-batch's forward and backward pass: average the gradients now, or leave it to a later one.

    A sharded model averages after each: kept apart, its gradients would take the memory that sharding saves.
    """
    return nullcontext() if now or not isinstance(replica, DistributedDataParallel) else replica.no_sync()
