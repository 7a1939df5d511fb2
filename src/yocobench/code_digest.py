"""Digest of the code that can change a measured number: part of every cell's key, and of every kept trace's."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path

from yocobench.schema import WorkloadConfig

BENCH = Path(__file__).parent / "bench"


def code_md5(workload: WorkloadConfig) -> str:
    """MD5 of bench/ and, if it is elsewhere, of the workload's module.

    Raises ValueError when the module of `_target_` cannot be found.
    """
    md5 = hashlib.md5(_bench(), usedforsecurity=False)
    module = workload.target.rpartition(".")[0]
    if not module.startswith("yocobench.bench."):
        try:
            found = importlib.util.find_spec(module) if module else None
        except (ImportError, ValueError):
            found = None
        if found is None or found.origin is None or not Path(found.origin).is_file():
            what = f"no module {module!r}" if module else "must be package.module.ClassName, there is no module in it"
            raise ValueError(
                f"conf/workload/{workload.name}.yaml: _target_ {workload.target!r}: {what}; "
                "install its package into this environment, or set PYTHONPATH to its folder"
            )
        md5.update(Path(found.origin).read_bytes())
    return md5.hexdigest()


@functools.cache
def _bench() -> bytes:
    """Names and contents of its Python files: the modules that this process imports do not change under it."""
    found = sorted(BENCH.rglob("*.py"))
    return b"".join(path.relative_to(BENCH).as_posix().encode() + b"\0" + path.read_bytes() for path in found)
