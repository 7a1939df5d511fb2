"""torch.compile for every workload: where it is used, what it costs, and what happens when it fails.

What is compiled is `Workload.loss` with the model in it, as one graph: whatever stands between model and loss is fused
too, and a part that would silently run eagerly is a failure that is told. Compiled code is kept in CACHE, so that
the second repeat and the next cell of the same model find it. Static shapes only.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import struct
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock
from torch import Tensor, nn

from yocobench.bench import hardware
from yocobench.bench.accelerators.neuron import has_native
from yocobench.schema import AcceleratorKind

CACHE = Path("mlruns/cache/inductor")
"""Under it one folder a host: compiled code fits the processor that it was made on."""
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
_chosen_cache = os.environ.get(CACHE_VARIABLE)
"""The user's own, read before torch is: importing torch._dynamo writes torch's default there, under /tmp."""
MIN_TRITON_CAPABILITY = (7, 0)

LossFunction = Callable[[nn.Module, Any], Tensor]


def obstacle(kind: AcceleratorKind) -> str | None:
    """What keeps this host from compiling for that device, and what would help; null: nothing."""
    if kind == "cpu":
        compiler = shlex.split(os.environ.get("CXX") or "g++")[0]
        return None if shutil.which(compiler) else f"no C++ compiler ({compiler} is not found; install g++)"
    if kind == "cuda" and torch.cuda.is_available():  # where it is not, opening the device says so
        return triton_obstacle(find_spec("triton") is not None, torch.cuda.get_device_capability())
    return None


def triton_obstacle(installed: bool, capability: tuple[int, int]) -> str | None:
    """As `obstacle`, for a GPU: Triton writes its kernels, for compute capability 7.0 and later."""
    if not installed:
        return "no Triton (pip install triton)"
    if capability < MIN_TRITON_CAPABILITY:
        return f"Triton knows no GPU of compute capability {capability[0]}.{capability[1]}"
    return None


def is_possible(setting: bool | Literal["auto"], kind: AcceleratorKind, warnings: list[str]) -> bool:
    """Whether to compile; if it is wanted and cannot be, the reason goes to `warnings`.

    Where torch_xla drives a Neuron device the answer is no, and nothing is missing: it compiles what it traces.
    """
    if setting is False or (kind == "neuron" and not has_native()):
        return False
    reason = obstacle(kind)
    if reason is not None:
        warnings.append(f"torch.compile was left out, steps ran eagerly: {reason}")
    return reason is None


class Loss:
    """A workload's loss, compiled at its first call. What it notes goes to `warnings`."""

    def __init__(self, eager: LossFunction, warnings: list[str], clock: Callable[[], float]) -> None:
        self._eager = self._function = eager
        self._warnings, self._clock = warnings, clock
        self._started = 0.0
        self._failure: type[Exception] = RuntimeError
        """What compiled code raises where it would be compiled once too often; torch's class, once it is imported."""
        self.compiled = False
        self.compile_s = 0.0
        """Spent in compilation so far, of the backward pass too."""
        self.num_compilations = 0

    def compile(self, root: Path, **options: Any) -> None:
        """Compile from the next call on. `options` go to torch.compile."""
        import torch._dynamo.callback as events
        from torch._dynamo.exc import FailOnRecompileLimitHit
        from torch._functorch import config

        # Else the trace of a model with an autograd.Function of its own is never kept: 20 s instead of 5 for yoco-lm
        # tiny in each repeat. torch has tests for it and means to make it the default (pytorch#149751).
        config.autograd_cache_allow_custom_autograd_functions = True
        cache = _chosen_cache or str(root.resolve() / CACHE / hardware.host_id())
        os.environ[CACHE_VARIABLE] = cache
        discard_unfinished(Path(cache))
        events.on_compile_start(self._on_start)
        events.on_compile_end(self._on_end)
        self._function = torch.compile(self._eager, fullgraph=True, dynamic=False, **options)
        self._failure = FailOnRecompileLimitHit
        self.compiled = True

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """The mean loss of a micro-batch."""
        if not self.compiled:
            return self._eager(model, batch)
        try:
            return self._function(model, batch)
        except self._failure:
            self.give_up("the shapes change from batch to batch, or a number in the code does")
            return self._eager(model, batch)

    def give_up(self, reason: str) -> None:
        """Run eagerly from now on, and say why."""
        self.compiled = False
        self._warnings.append(f"torch.compile failed, steps ran eagerly: {reason}")

    def _on_start(self, _event: object) -> None:
        self._started = self._clock()

    def _on_end(self, _event: object) -> None:
        self.compile_s += self._clock() - self._started
        self.num_compilations += 1


def discard_unfinished(cache: Path) -> None:
    """Remove what a process that was killed was still writing there: libraries that end too early.

    inductor loads what it finds: from half a library no model that needs it compiles again, and if the half is
    inductor's probe of the vector units, all code is scalar from then on, with no word said.
    """
    for library in cache.glob("*/*.so"):
        if is_unfinished(library):
            lock = FileLock(cache / "locks" / f"{library.name.split('.')[0]}.lock", timeout=0)  # as inductor names it
            with contextlib.suppress(OSError), lock:  # held (a timeout): somebody is writing it; or it is not ours
                if is_unfinished(library):  # still, with the lock
                    library.unlink(missing_ok=True)


def is_unfinished(library: Path) -> bool:
    """Does this file end before its table of sections, which linkers write last? (elf(5), 64 bits little-endian)."""
    try:
        with library.open("rb") as file:
            header = file.read(64)
        size = library.stat().st_size
    except OSError:  # gone meanwhile
        return False
    if header[:6] != b"\x7fELF\x02\x01":
        return header.count(0) == len(header)  # empty, or space that was never filled
    table, entry_bytes, entries = struct.unpack_from("<40xQ10xHH", header.ljust(64, b"\0"))
    return not 0 < table <= size - entry_bytes * entries


def reason_of(error: BaseException) -> str:
    """One line of an error that compiling raised: its first, and the compiler's own explanation if it gives one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = " ".join(lines[: 2 if lines and lines[0].endswith("raised:") else 1])  # "backend='inductor' raised:"
    said = [line.removeprefix("Explanation: ") for line in lines[1:] if line.startswith("Explanation: ")]
    return f"{type(error).__name__}: {': '.join([first, *said[:1]])}"[:300]
