import http.server
import threading
from types import SimpleNamespace

import pytest

from yocobench import config
from yocobench.bench import hardware
from yocobench.bench.measurement import Detected

GIB = 2**30


def host(**changes):
    base = {
        "host_id": "0" * 12,
        "instance_type": None,
        "arch": "x86_64",
        "cpu_model": "Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz",
        "cpu_flags": ("avx2", "avx512f"),
        "vcpus": 4,
        "physical_cores": 2,
        "memory_bytes": int(15.4 * GIB),
        "kind": "cuda",
        "accelerator_name": "Tesla T4",
        "accelerator_count": 1,
        "accelerator_memory_bytes": 15 * GIB,
        "compute_capability": "7.5",
    }
    return Detected(**{**base, **changes})


def test_the_same_cpu_gpu_and_shape_pass_for_the_type():
    assert hardware.mismatch(host(), config.instance("g4dn.xlarge")) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cpu_model": "Apple M1"}, "CPU 'Apple M1' is not"),
        ({"vcpus": 8}, "8 vCPUs, not 4"),
        ({"memory_bytes": 8 * GIB}, "8.0 GiB of memory, not 16"),
        ({"accelerator_name": "NVIDIA A10G"}, "accelerator 'NVIDIA A10G' is not"),
        ({"accelerator_count": 0, "accelerator_name": None}, "0 accelerators, not 1"),
    ],
)
def test_another_machine_is_never_filed_as_g4dn(changes, said):
    assert said in hardware.mismatch(host(**changes), config.instance("g4dn.xlarge"))


def test_the_metadata_service_overrules_looks():
    assert "g5.xlarge (EC2 metadata" in hardware.mismatch(
        host(instance_type="g5.xlarge"), config.instance("g4dn.xlarge")
    )
    odd = host(instance_type="g4dn.xlarge", cpu_model="something new")
    assert hardware.mismatch(odd, config.instance("g4dn.xlarge")) is None


def test_any_host_passes_for_local():
    assert hardware.mismatch(host(cpu_model="Apple M1"), config.instance("local")) is None


@pytest.mark.parametrize(
    ("changes", "precision"),
    [
        ({}, "fp16"),
        ({"compute_capability": "8.0"}, "bf16"),
        ({"kind": "neuron"}, "bf16"),
        ({"kind": "cpu", "cpu_flags": ("avx2", "avx512f", "avx512_fp16")}, "fp32"),
        ({"kind": "cpu", "cpu_flags": ("avx512f", "avx512_bf16")}, "bf16"),
        ({"kind": "cpu", "cpu_flags": ("amx_tile", "amx_bf16")}, "bf16"),
    ],
)
def test_precision_of_an_unknown_host_follows_what_its_hardware_is_fast_at(changes, precision):
    assert hardware.precision(host(**changes)) == precision


def test_what_a_kind_of_device_can_train_in():
    assert hardware.precisions("cuda", "7.5") == hardware.precisions("cuda", None) == ("fp32", "fp16")
    assert hardware.precisions("cuda", "8.0") == ("fp32", "tf32", "fp16", "bf16")
    assert hardware.precisions("cpu", None) == hardware.precisions("neuron", None) == ("fp32", "bf16")


@pytest.fixture
def metadata_service():
    class Imds(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            self._answer("token-1" if self.headers["X-aws-ec2-metadata-token-ttl-seconds"] else "")

        def do_GET(self):
            known = self.headers["X-aws-ec2-metadata-token"] == "token-1"
            self._answer("g4dn.xlarge" if known and self.path.endswith("/instance-type") else "", 200 if known else 401)

        def _answer(self, text, status=200):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Imds)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_the_instance_type_is_asked_with_a_token(metadata_service):
    assert hardware.imds_instance_type(metadata_service) == "g4dn.xlarge"


def test_no_metadata_service_means_no_instance_type():
    assert hardware.imds_instance_type("http://127.0.0.1:9") is None


def test_this_host_describes_itself():
    found = hardware.detect("http://127.0.0.1:9")
    assert found.vcpus >= 1
    assert found.memory_bytes > 2**28
    assert len(found.host_id) == 12
    assert found == hardware.detect("http://127.0.0.1:9")


CPU = "model\t\t: 17\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2445.4\nflags\t\t: avx2 avx512f\n\nprocessor\t: 1\n"


@pytest.mark.parametrize(
    ("cpuinfo", "cpus", "same"),
    [
        (CPU, 2, True),
        (CPU.replace("2445.4", "3100.0"), 2, True),  # the clock of the moment is not the machine
        (CPU.replace(" avx512f", ""), 2, False),
        (CPU.replace(": 17", ": 1"), 2, False),
        (CPU, 32, False),
    ],
)
def test_a_machine_given_another_cpu_is_another_machine_whatever_its_name(monkeypatch, cpuinfo, cpus, same):
    def seen(text, count):
        monkeypatch.setattr(hardware, "_cpuinfo", lambda: text)
        monkeypatch.setattr(hardware.os, "cpu_count", lambda: count)
        return hardware.host_id()

    assert (seen(cpuinfo, cpus) == seen(CPU, 2)) is same


def test_a_gpu_is_told_by_the_first_that_may_be_used_and_counted_by_those(monkeypatch):
    told = {
        "nvmlDeviceGetName": lambda handle: f"NVIDIA H{handle}00",
        "nvmlDeviceGetCudaComputeCapability": lambda handle: (9, 0),
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=141 * GIB),
    }
    for name, answer in told.items():
        monkeypatch.setattr(hardware.pynvml, name, answer)
    monkeypatch.setattr(hardware, "gpus", lambda: [2, 5])
    assert hardware._nvidia() == ("cuda", "NVIDIA H200", 2, 141 * GIB, "9.0", None)
    monkeypatch.setattr(hardware, "gpus", list)
    assert hardware._nvidia() is None


def test_neuron_cores_are_found_where_no_login_shell_has_set_the_path(monkeypatch, tmp_path):
    tool = tmp_path / "neuron-ls"
    tool.write_text("""#!/bin/sh\necho '[{"nc_count": 2, "memory_size": 34359738368}]'\n""")
    tool.chmod(0o755)
    monkeypatch.setattr(hardware, "NEURON_TOOLS", str(tmp_path))
    monkeypatch.setattr(hardware.Path, "glob", lambda folder, pattern: iter([folder / "neuron0"]))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert hardware._neuron() == ("neuron", "AWS Neuron device", 1, 32 * GIB, None, 2)
