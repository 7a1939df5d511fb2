"""A real `mlflow server` on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# Without its eight job processes and three more workers it answers in 9 s instead of 26.
FLAGS = ("--workers", "1", "--host", "127.0.0.1")
ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
PATIENCE_S = 240


def free_port() -> int:
    """One that nobody listens on, and that Chromium does not refuse (5060, 5061 and others below 10080)."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port > 10080:
            return port


@contextmanager
def server(*arguments: str, more: Mapping[str, str] | None = None) -> Iterator[str]:
    """`mlflow server` with these arguments and more environment; its address. Ended in the end, with its workers."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", *arguments, *FLAGS, "--port", str(port)]  # the last one counts
    process = subprocess.Popen(
        command, env=os.environ | ENVIRONMENT | dict(more or {}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=2):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.3)
        yield address
    finally:
        process.terminate()
        process.wait()
