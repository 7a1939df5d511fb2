"""The boxes of the AWS stand-in: what EC2 and cloud-init do with the user-data that a launcher wrote.

Each instance's user-data really runs, in a subprocess: bash, curl, tar and sha256sum are this machine's own. What would
change this machine is a shim on PATH: shutdown, systemctl, apt-get, and `python3 -m venv`, whose pip installs nothing
and whose python is the one that runs the tests, on the code that the box downloaded. A box has no AWS credentials.
"""

import base64
import contextlib
import functools
import http.server
import json
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from moto.ec2.models.instances import Instance, StateReason

from aws_recorded import ACCOUNT
from aws_stand_in import Aws, get_backend

TESTS = Path(__file__).parent
SHIMS = {
    "shutdown": """
echo "$@" >>"$GUEST/shutdown"
[ "$2" != now ] || touch "$GUEST/off"
""",
    "systemctl": 'echo "$@" >>"$GUEST/systemctl"',
    "apt-get": 'echo "$@" >>"$GUEST/apt-get"',
    "python3": """
[ "$1 $2" = "-m venv" ] || exit 9
mkdir -p "$3/bin" && cp "$GUEST_BIN/venv-python" "$3/bin/python"
""",
    "venv-python": f"""
if [ "$1 $2" = "-m pip" ]; then
  echo "$@" >>"$GUEST/pip"
  [ "$GUEST_FAULT" != pip ] || {{ echo "ERROR: no such wheel"; exit 1; }}
  exit 0
fi
if [ "$GUEST_TRAIN" = stub ]; then shift 2; exec "{sys.executable}" "{TESTS}/ec2_stub_train.py" "$@"; fi
PYTHONPATH="$PWD/src:$PYTHONPATH" exec "{sys.executable}" "$@"
""",
    # What goes up may arrive damaged, or not at all.
    "curl": f"""
for word in "$@"; do
  case "$GUEST_FAULT $word" in
    mute\\ */heartbeat | lost\\ receipt.json) printf 200; exit 0 ;;
    damaged\\ */cell.tar) {shutil.which("curl")} "$@"; echo >>"$word"; exit 0 ;;
    corrupt\\ receipt.json) head -c 300 receipt.json >cut.json && set -- "${{@/#receipt.json/cut.json}}" ;;
  esac
done
exec "{shutil.which("curl")}" "$@"
""",
}


REASONS = {
    "off": "Client.InstanceInitiatedShutdown",
    "die": "Server.InternalError",
    "spot": "Server.SpotInstanceTermination",
}
_moto_terminate, _terminating = Instance.terminate, threading.Lock()


def _terminate_once(instance: Instance) -> Any:
    """EC2 ends an instance twice without complaint; moto stumbles over the network interface that is gone."""
    with _terminating:
        return instance._state if instance._state.name == "terminated" else _moto_terminate(instance)


Instance.terminate = _terminate_once


class Boxes:
    """Watches the stand-in's instances and runs them, as a thread. Use as a context manager."""

    def __init__(self, aws: Aws, folder: Path, specs: dict[str, str], train: str = "stub") -> None:
        """`specs`: CellSpec JSON by cell key, for the stub of yocobench.train."""
        self.aws, self.folder, self.specs, self.train = aws, folder, specs, train
        self.faults: dict[str, str] = {}
        """By instance type: die, spot, pip, damaged, corrupt, lost, mute, hang."""
        self.hold = threading.Event()
        """While it is clear, new boxes stay in boot."""
        self.hold.set()
        self.keep_off = False
        """A box that powers off stays listed as running: its own shutdown failed."""
        self.guests: dict[str, subprocess.Popen[bytes]] = {}
        self.types: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._bin = folder / "bin"
        self._ec2 = aws.admin("ec2")

    def __enter__(self) -> "Boxes":
        _metadata()  # now: forked while a client holds SIGTERM, it would hold it too, and never end
        self._bin.mkdir(parents=True)
        for name, text in SHIMS.items():
            path = self._bin / name
            path.write_text(f"#!/bin/bash\n{text.strip()}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for name, guest in self.guests.items():
            self._kill(name)
            guest.wait()

    def alive(self) -> list[str]:
        """Instances that are not terminated."""
        return [box["InstanceId"] for box in self._all() if box["State"]["Name"] != "terminated"]

    def home(self, instance_id: str) -> Path:
        """Where the shims of a box leave their notes."""
        return self.folder / instance_id

    def _all(self) -> list[dict]:
        """What DescribeInstances says of each, without the request: that would be most of what these tests compute."""
        groups = list(get_backend("ec2")[ACCOUNT]["us-east-1"].reservations.values())
        boxes = [box for group in groups for box in list(group.instances)]
        names = ("InstanceId", "InstanceType", "State", "Tags")
        return [
            dict(zip(names, (box.id, box.instance_type, {"Name": box._state.name}, tags), strict=True))
            for box in boxes
            if (tags := [{"Key": tag["key"], "Value": tag["value"]} for tag in box.get_tags()])  # none: not yet whole
        ]

    def _watch(self) -> None:
        while not self._stop.wait(0.15):
            for box in self._all():
                name, state = box["InstanceId"], box["State"]["Name"]
                if state == "running" and name not in self.guests and self.hold.is_set():
                    self._boot(box)
                elif state != "running" and name in self.guests:
                    self._kill(name)
                elif name in self.guests:
                    for sign, reason in REASONS.items():
                        if (self.home(name) / sign).exists() and not self.keep_off:
                            self._gone(name, reason)

    def _boot(self, box: dict) -> None:
        name, kind = box["InstanceId"], box["InstanceType"]
        home = self.home(name)
        home.mkdir()
        encoded = self._ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")["UserData"]["Value"]
        script = home / "user-data"
        script.write_bytes(base64.b64decode(encoded))
        cell = next(tag["Value"] for tag in box["Tags"] if tag["Key"] == "cell")
        (home / "spec.json").write_text(self.specs.get(cell, "{}"))
        environment = {
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "HOME": str(home),
            "TMPDIR": str(home),
            "GUEST": str(home),
            "GUEST_BIN": str(self._bin),
            "GUEST_TRAIN": self.train,
            "GUEST_FAULT": self.faults.get(kind, ""),
            "OMP_NUM_THREADS": "1",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{_metadata()}/{kind}",
        }
        self.types[name] = kind
        with (home / "console").open("wb") as console:
            self.guests[name] = subprocess.Popen(
                ["bash", str(script)], env=environment, cwd=home, stdout=console, stderr=console, start_new_session=True
            )

    def _kill(self, name: str) -> None:
        """All of a box: its session, in which the heartbeat has a group of its own."""
        for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*")):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == self.guests[name].pid:
                    os.kill(pid, signal.SIGKILL)

    def _gone(self, name: str, reason: str) -> None:
        """Ended by something else than the client: the box itself (its shutdown behaviour is terminate), or AWS."""
        self._kill(name)
        instance = get_backend("ec2")[ACCOUNT]["us-east-1"].get_instance(name)
        if instance._state.name != "terminated":
            instance.terminate()
            instance.state_reason = StateReason(reason, reason)


class _Metadata(http.server.BaseHTTPRequestHandler):
    """IMDSv2: a token, then the instance type, which is in the path."""

    def do_PUT(self) -> None:
        self._say("token")

    def do_GET(self) -> None:
        self._say(self.path.split("/")[1])

    def _say(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None: ...


@functools.cache
def _metadata() -> str:
    """The address of a metadata service for every box of this worker, up to the instance type.

    In a process of its own: the code gives it half a second, which it may not have beside the stand-in's threads.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Metadata)
    multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True).start()
    server.socket.close()  # it lives on in the process
    return f"http://127.0.0.1:{server.server_port}"


def notes(home: Path, name: str) -> list[str]:
    """What a shim wrote down, line by line."""
    path = home / name
    return path.read_text().splitlines() if path.exists() else []


def spec_of(home: Path) -> dict:
    """The cell that a box was started for."""
    return json.loads((home / "spec.json").read_text())
