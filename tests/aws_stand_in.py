"""AWS for tests: a moto server over HTTP, recorded answers for what moto lacks (aws_recorded.py), faults on order.

The code under test is the code that ships: it finds this server through AWS_ENDPOINT_URL, in this process or in a
child. Use the fixture `aws`:

    from aws_stand_in import Aws, aws_account  # noqa: F401  (registers the fixture `aws`)

    aws.fail("ec2:RunInstances", "InsufficientInstanceCapacity", status=500, zones=["us-east-1a"], times=1)
    aws.quotas["L-DB2E81BA"] = 8.0
    aws.admin("ec2").describe_instances()   # the test's own look behind the scenes: not recorded, never failing

When the test ends, every call that the code made must be allowed by docs/iam-policy.json. Not covered: what AWS does
that neither moto nor the answers know (facts: moto does not check zone offerings on RunInstances; `aws` does).
"""

import collections
import functools
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION"] = "true"  # before moto is imported
os.environ["MOTO_ENABLE_AMI_VALIDATION"] = "true"

import boto3
import pytest
from botocore.config import Config
from botocore.loaders import create_loader
from moto.backends import get_backend
from moto.moto_api._internal import moto_api_backend
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from aws_recorded import ACCOUNT, Recorded
from aws_wire import Answer, Call, error, parse
from yocobench.aws import session

_REGIONS = frozenset(boto3.Session().get_available_regions("ec2"))
POLICY = Path(__file__).parents[1] / "docs" / "iam-policy.json"


@dataclass
class Fault:
    """An order to answer wrongly: `times` None is always."""

    action: str
    answer: Callable[[Call], Answer]
    when: dict[str, str] = field(default_factory=dict)
    zones: tuple[str, ...] = ()
    times: int | None = None
    after: int = 0
    """So many calls that it applies to pass first."""


class Aws(Recorded):
    """The knobs of one test."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.calls: list[Call] = []
        self.cut_launches = 0
        """So many answers to RunInstances are cut on their way back: AWS has done what was asked."""
        self.allow_everything = False
        """Skip the check against docs/iam-policy.json at the end of the test."""
        self._faults: list[Fault] = []
        self._lock = threading.RLock()

    def fail(
        self,
        action: str,
        code: str,
        message: str = "injected",
        *,
        status: int = 400,
        when: dict[str, str] | None = None,
        zones: Iterable[str] = (),
        times: int | None = None,
        after: int = 0,
    ) -> None:
        """Answer `action` with an API error. `when` compares flat parameters, `zones` the subnet's or placement's."""

        def answer(call: Call) -> Answer:
            return error(call.protocol, code, message, status)

        self._faults.append(Fault(action, answer, when or {}, tuple(zones), times, after))

    def answer(self, action: str, body: bytes | str, status: int = 200, times: int | None = None) -> None:
        """Answer `action` with these bytes, well formed or not."""
        raw = body.encode() if isinstance(body, str) else body
        self._faults.append(Fault(action, lambda _call: (status, "application/x-amz-json-1.1", raw), times=times))

    def heal(self) -> None:
        """Forget every injected fault."""
        self._faults.clear()

    def admin(self, service: str, region: str = "us-east-1") -> Any:
        """A client for the test itself: its calls are neither recorded nor failed."""
        return _admin().client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id="ADMIN",
            aws_secret_access_key="admin",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def actions(self) -> collections.Counter[str]:
        """How often each action was called."""
        return collections.Counter(call.action for call in self.calls)

    def respond(self, call: Call) -> Answer | None:
        """The injected or recorded answer; None: moto's."""
        with self._lock:
            self.calls.append(call)
            self._furnish(call.region)
            for fault in self._faults:
                if self._applies(fault, call):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault.answer(call)
            method = getattr(self, "_" + call.action.replace(":", "_").lower(), None)
            found: Answer | None = method(call) if method else None
            return found

    def on_its_way(self, answer: Answer) -> Answer:
        """The answer to a RunInstances as it arrives."""
        with self._lock:
            self.cut_launches -= 1
            return (*answer[:2], answer[2][:200]) if self.cut_launches >= 0 else answer

    def _applies(self, fault: Fault, call: Call) -> bool:
        if fault.action != call.action or fault.times == 0:
            return False
        if any(str(call.params.get(name)) != value for name, value in fault.when.items()):
            return False
        if fault.zones and self.zone_of(call) not in fault.zones:
            return False
        fault.after -= 1
        return fault.after < 0

    def _furnish(self, region: str) -> None:
        """What an AWS account has and moto's does not: a way out of the default VPC."""
        if region in _furnished or region not in _REGIONS:
            return
        _furnished.add(region)
        backend = get_backend("ec2")[ACCOUNT][region]
        vpc = backend.get_default_vpc()
        gateway = backend.create_internet_gateway()
        backend.attach_internet_gateway(gateway.id, vpc.id)
        table = next(t for t in backend.route_tables.values() if t.vpc_id == vpc.id)
        backend.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id)


# --- the server and the fixture ---------------------------------------------------------------------------------------

_current: list[Aws] = []
_furnished: set[str] = set()
_moto_changed = threading.Event()
"""Set once something in moto is no longer as a reset leaves it: resetting it takes time that most tests need not."""


@functools.cache
def _admin() -> boto3.Session:
    return boto3.Session()


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Not a line per request."""


@functools.cache
def _serve() -> str:
    """The server's URL; started once per process, in about two seconds."""
    moto = DomainDispatcherApplication(create_backend_app)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        call = parse(environ)
        only_looks = call is not None and (
            re.match(r"\w+:(Describe|Get)", call.action) or call.params.get("DryRun") == "true"
        )
        if not only_looks:
            _moto_changed.set()
        if call is None or not _current:
            return moto(environ, start_response)
        stand_in = _current[-1]
        answer = stand_in.respond(call)
        if answer is None and call.action != "ec2:RunInstances":
            return moto(environ, start_response)
        if answer is None:
            answer = _collect(moto, environ)
            stand_in.remember(call, answer)
            answer = stand_in.on_its_way(answer)
        status, kind, body = answer
        start_response(f"{status} -", [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.port}"


def _collect(moto: Any, environ: dict[str, Any]) -> Answer:
    seen: list[Any] = []

    def note(status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
        seen.append((int(status.split(maxsplit=1)[0]), dict(headers).get("Content-Type", "text/xml")))

    body = b"".join(moto(environ, note))
    return *seen[0], body


def allowed_actions() -> list[str]:
    """Every action that docs/iam-policy.json allows; ec2:Describe* style patterns are not used there."""
    statements = json.loads(POLICY.read_text())["Statement"]
    return sorted({action for statement in statements for action in statement["Action"]})


_LOADER = create_loader()  # botocore's API descriptions, parsed once for all tests


def _renew_session() -> None:
    session.forget()
    session._session()._session.register_component("data_loader", _LOADER)


@pytest.fixture(name="aws")
def aws_account(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """AWS, empty, with credentials and region in the environment (child processes get them too)."""
    nowhere = tmp_path_factory.mktemp("aws") / "none"
    for name in [key for key in os.environ if key.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(nowhere),
        "AWS_SHARED_CREDENTIALS_FILE": str(nowhere),
        "AWS_ENDPOINT_URL": _serve(),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    if _moto_changed.is_set():
        moto_api_backend.reset()
        _furnished.clear()
        _moto_changed.clear()
    _renew_session()
    stand_in = Aws(_serve())
    _current.append(stand_in)
    yield stand_in
    _current.remove(stand_in)
    session.forget()
    if not stand_in.allow_everything and POLICY.exists():
        allowed = {*allowed_actions(), "sts:GetCallerIdentity"}  # needs no permission
        missing = sorted(set(stand_in.actions()) - allowed)
        assert not missing, f"docs/iam-policy.json does not allow {missing}, which the code called"
