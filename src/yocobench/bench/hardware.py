"""What this host is, and whether it is the instance type that a cell names. No torch: devices are asked elsewhere.

A host is filed under a type only if it is one: the EC2 instance metadata service (IMDSv2) says so, or, where there is
none, CPU and accelerator answer to the names that the catalogue gives and the shape fits.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import psutil
import pynvml

from yocobench.bench import physical
from yocobench.bench.measurement import Detected
from yocobench.bench.system import gpus
from yocobench.schema import AcceleratorKind, Instance, Precision

IMDS = "http://169.254.169.254"  # link-local address of the metadata service, the same on every EC2 host
IMDS_TIMEOUT_S = 0.5
SPEED_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "sve", "sve2", "bf16")
NEURON_TOOLS = "/opt/aws/neuron/bin"
"""Where AWS installs them; only a login shell has it on its PATH, user-data has not (aws-neuron-sdk#447)."""
MEMORY_TOLERANCE = 0.12
"""A guest sees 2 to 7 % less than the nominal memory (vantage-sh/ec2instances.info, measured 2025-12)."""


def detect(imds_url: str | None = None) -> Detected:
    """Describe this host, once a process. Never fails: what cannot be read is null.

    The metadata service is looked for where AWS's own variable AWS_EC2_METADATA_SERVICE_ENDPOINT says, if it is set.
    """
    return _detect(imds_url or os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", IMDS).rstrip("/"))


@functools.cache
def _detect(imds_url: str) -> Detected:
    cpu_model, flags = _cpu()
    kind, name, count, memory, capability, cores = _accelerator()
    return Detected(
        host_id=host_id(),
        instance_type=imds_instance_type(imds_url),
        arch="arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64",
        cpu_model=cpu_model,
        cpu_flags=flags,
        vcpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        physical_cores=physical.usable(),
        memory_bytes=_memory_limit_bytes(),
        kind=kind,
        accelerator_name=name,
        accelerator_count=count,
        accelerator_memory_bytes=memory,
        compute_capability=capability,
        neuron_cores=cores,
    )


def host_id() -> str:
    """12 hex digits that tell this machine from others; its name and addresses cannot be read back from them.

    Name and machine-id alone would not do: an image that moves to another CPU and an EC2 box that is given another
    type keep both, and what the old CPU measured would calibrate the new one.
    """
    machine = Path("/etc/machine-id")
    parts = [platform.node(), machine.read_text().strip() if machine.is_file() else str(uuid.getnode())]
    parts += [str(os.cpu_count()), *_cpu_identity(_cpuinfo())]
    return hashlib.sha256("\n".join(["yocobench host", *parts]).encode()).hexdigest()[:12]


def _cpu_identity(cpuinfo: str) -> list[str]:
    """Maker, model and features as the first CPU states them: hypervisors mask the name ("AMD EPYC")."""
    first = cpuinfo.partition("\n\n")[0]
    said = "vendor_id|cpu family|model|model name|stepping|flags|CPU implementer|CPU variant|CPU part|Features"
    return re.findall(rf"^(?:{said})\s*:.*$", first, re.MULTILINE)


def imds_instance_type(url: str = IMDS) -> str | None:
    """The EC2 instance type by IMDSv2; null where no metadata service answers."""
    try:
        token = _http(f"{url}/latest/api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        found = _http(f"{url}/latest/meta-data/instance-type", "GET", {"X-aws-ec2-metadata-token": token})
    except (OSError, ValueError, urllib.error.URLError):
        return None
    return found if re.fullmatch(r"[a-z0-9-]+\.[a-z0-9-]+", found) else None


def _http(url: str, method: str, headers: dict[str, str]) -> str:
    request = urllib.request.Request(url, method=method, headers=headers)  # noqa: S310 (a constant http address)
    # No proxy: the metadata service is on this host's own link.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=IMDS_TIMEOUT_S) as answer:
        return str(answer.read(256).decode("ascii").strip())


def mismatch(detected: Detected, instance: Instance) -> str | None:
    """Why this host may not be filed under that instance type; null when it may."""
    if instance.detect:
        return None
    if detected.instance_type is not None:
        if detected.instance_type == instance.name:
            return None
        return f"this host is a {detected.instance_type} (EC2 metadata service), not a {instance.name}"
    assert instance.cpu is not None
    assert instance.hardware is not None
    hardware = instance.hardware
    problems = []
    if not instance.cpu.is_named(detected.cpu_model):
        problems.append(f"CPU {detected.cpu_model!r} is not {' or '.join(instance.cpu.identity) or 'known'}")
    if detected.vcpus != hardware.vcpus:
        problems.append(f"{detected.vcpus} vCPUs, not {hardware.vcpus}")
    nominal = hardware.memory_gib * 2**30
    if not nominal * (1 - MEMORY_TOLERANCE) <= detected.memory_bytes <= nominal * 1.01:
        problems.append(f"{detected.memory_bytes / 2**30:.1f} GiB of memory, not {hardware.memory_gib:g}")
    if detected.accelerator_count != hardware.accelerator_count:
        problems.append(f"{detected.accelerator_count} accelerators, not {hardware.accelerator_count}")
    elif instance.accelerator is not None and not instance.accelerator.is_named(detected.accelerator_name or ""):
        expected = " or ".join(instance.accelerator.identity)
        problems.append(f"accelerator {detected.accelerator_name!r} is not {expected}")
    return f"this host is not a {instance.name}: {'; '.join(problems)}" if problems else None


def precision(detected: Detected) -> Precision:
    """What training uses on a host that the catalogue does not describe.

    A CPU: bf16 only where the cores multiply it (AMX tiles or AVX512-BF16); emulated, autocast costs 3x (measured
    2026-11-23 on AVX-512 without either). `torch.ops.mkldnn._is_mkldnn_bf16_supported()` tells the two not apart.
    A GPU: bf16 from compute capability 8.0 (Ampere), fp16 before it. Neuron: bf16.
    """
    if detected.kind == "cpu":
        return "bf16" if {"amx_bf16", "avx512_bf16"} & set(detected.cpu_flags) else "fp32"
    if detected.kind == "cuda":
        return "bf16" if float(detected.compute_capability or 0) >= 8.0 else "fp16"
    return "bf16"


def precisions(kind: AcceleratorKind, compute_capability: str | None) -> tuple[Precision, ...]:
    """All that training can use there. A CPU without units for bf16 emulates it."""
    if kind != "cuda":
        return ("fp32", "bf16")
    return ("fp32", "tf32", "fp16", "bf16") if float(compute_capability or 0) >= 8.0 else ("fp32", "fp16")


def _cpu() -> tuple[str, tuple[str, ...]]:
    text = _cpuinfo()
    if not text:
        return platform.processor() or platform.machine(), ()
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    have = set(flags.group(1).split()) if flags else set()
    return (model.group(1).strip() if model else platform.machine()), tuple(f for f in SPEED_FLAGS if f in have)


def _cpuinfo() -> str:
    """Empty where there is none, as on a Mac."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _memory_limit_bytes() -> int:
    """Physical memory, or the control group's limit where that is lower."""
    total = int(psutil.virtual_memory().total)
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(path).read_text()))
        except (OSError, ValueError):
            continue
    return total


_Found = tuple[AcceleratorKind, str | None, int, int | None, str | None, int | None]


def _accelerator() -> _Found:
    found = _nvidia() or _neuron()
    return found if found is not None else ("cpu", None, 0, None, None, None)


def _nvidia() -> _Found | None:
    handles = gpus()
    if not handles:
        return None
    try:
        name = pynvml.nvmlDeviceGetName(handles[0])
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handles[0])
        memory = int(pynvml.nvmlDeviceGetMemoryInfo(handles[0]).total)
    except pynvml.NVMLError:
        return None
    return "cuda", name, len(handles), memory, f"{major}.{minor}", None


def _neuron() -> _Found | None:
    """AWS Neuron devices by the driver's own tool: `neuron-ls -j` lists one object a device."""
    if not any(Path("/dev").glob("neuron[0-9]*")):
        return None
    tool = shutil.which("neuron-ls") or f"{NEURON_TOOLS}/neuron-ls"
    try:
        listing = subprocess.run([tool, "-j"], capture_output=True, timeout=20, check=True)
        devices = json.loads(listing.stdout)
        name = str(devices[0].get("name", "AWS Neuron device"))
        cores = sum(int(device["nc_count"]) for device in devices)
        return "neuron", name, len(devices), int(devices[0]["memory_size"]), None, cores
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, IndexError, TypeError):
        return None
