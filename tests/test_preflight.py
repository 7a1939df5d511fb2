"""The preflight against the stand-in: what stands in the way of each candidate, and what it says about it."""

import datetime as dt
import functools
import json
import re
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from aws_stand_in import Aws, aws_account  # noqa: F401
from test_ec2_ledger import entry
from yocobench import config, preflight
from yocobench.aws import identity, images, network, quotas
from yocobench.aws.ledger import Ledger

REPOSITORY = Path(__file__).parents[1]
G, STANDARD, TRN = "L-DB2E81BA", "L-1216C47A", "L-2C3B7624"
Run = Callable[..., tuple[int, str]]
instance = functools.cache(config.instance)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between botocore's retries; the catalogue, which no test here changes, is read once."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _s: None)
    monkeypatch.setattr(config, "instance", instance)


@pytest.fixture
def run(aws: Aws, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in a copy of the study; gives its exit status and all that it printed."""
    (project / "data").mkdir()
    shutil.copy(REPOSITORY / "data/prices.json", project / "data/prices.json")
    monkeypatch.setenv("COLUMNS", "220")
    aws.quotas.update({G: 64.0, STANDARD: 64.0, TRN: 8.0})

    def command(*argv: str, instances: str = "g4dn.xlarge,trn1.2xlarge") -> tuple[int, str]:
        status = 0
        try:
            preflight.main([f"instances=[local,{instances}]", "assume.neuron_compile_s=600", *argv])
        except SystemExit as stop:
            status = int(stop.code or 0)
        said = capsys.readouterr()
        return status, said.out + said.err

    return command


def row(out: str, name: str) -> list[str]:
    """The cells of a candidate's line in the table."""
    line = next(line for line in out.splitlines() if re.match(rf"\W*{re.escape(name)} ", line))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_study_that_can_be_launched_passes_and_shows_all_answers(run: Run, aws: Aws):
    status, out = run("--max-usd", "20")
    assert status == 0, out
    assert "us-east-1, on-demand. Credentials: user moto, from env, do not expire" in out
    # 0.526 + 100 GB * 0.08 / 730 + 0.005 = 0.541959 USD/h, for 20 + 3 * 15 + 10 minutes = 75: 0.677, up to the cent
    cuda, neuron = (images.resolve(family, "us-east-1").ami_id for family in ("cuda", "neuron"))
    assert row(out, "g4dn.xlarge")[1:] == [
        "ok", "a b c d f", "4 of 64", f"cuda {cuda}", "5 of 5 zones", "0.68 USD", "ok", "ready"
    ]  # fmt: skip
    assert row(out, "trn1.2xlarge")[2:6] == ["c f", "8 of 8", f"neuron {neuron}", "2 of 2 zones"]
    assert "2 of 2 candidates can be launched" in out
    assert "local" not in out
    assert aws.admin("ec2").describe_instances()["Reservations"] == []


def test_what_would_time_out_while_it_compiles_is_not_ready(run: Run):
    status, out = run("protocol.timeout_s=600", "--max-usd", "20")
    assert (status, row(out, "trn1.2xlarge")[-1], row(out, "g4dn.xlarge")[-1]) == (1, "no", "ready")
    assert "- trn1.2xlarge: protocol.timeout_s (600) would end it while it compiles" in out


def test_excluded_candidates_are_shown_with_their_reason_and_cost_no_call(run: Run, aws: Aws):
    origin = {"source": "its answer", "as_of": "2026-11-24"}
    offer = {"instance_type": "g5.xlarge", "region": "us-east-1", "zones": [], **origin}
    file = Path("data/prices.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"offers": [offer]}))
    status, out = run("--max-usd", "20", instances="g4dn.xlarge,g5.xlarge,p3.2xlarge,inf1.xlarge")
    assert status == 0, out
    assert row(out, "g5.xlarge")[-1] == "excluded: not offered in us-east-1"
    assert row(out, "p3.2xlarge")[-1] == "excluded: retired"
    assert row(out, "inf1.xlarge")[-1] == "excluded: cannot train"
    assert aws.actions()["ec2:RunInstances"] == 1


def test_a_new_account_lacks_quota_and_gets_the_exact_requests(run: Run, aws: Aws):
    aws.quotas.clear()
    status, out = run("--max-usd", "50", "--request-quota", instances="g4dn.xlarge,g5.xlarge,c6i.8xlarge")
    assert status == 1
    assert row(out, "c6i.8xlarge")[3] == "32 of 5"
    assert f"g4dn.xlarge: needs 4 vCPUs of quota {G}, the account has 0, AWS's default: --request-quota" in out
    # two workloads: two cells a type, four boxes at once: 4 x 4 vCPUs of G, 2 x 32 of Standard
    ask = "aws service-quotas request-service-quota-increase --region us-east-1 --service-code ec2"
    assert f"{ask} --quota-code {STANDARD} --desired-value 64" in out
    assert f"{ask} --quota-code {G} --desired-value 16" in out
    assert "0 of 3 candidates can be launched" in out


def test_spot_has_its_own_quotas_and_its_own_offer(run: Run, aws: Aws):
    aws.quotas["L-3819A6DF"] = 3.0
    status, out = run("usage_class=spot", "--max-usd", "50", instances="g4dn.xlarge")
    assert status == 1
    assert "needs 4 vCPUs of quota L-3819A6DF, the account has 3: --request-quota" in out
    assert "data/prices.json has no price for g4dn.xlarge spot in us-east-1" in out


def test_no_quota_needs_raising_when_all_boxes_at_once_fit(run: Run):
    _, out = run("--request-quota", instances="g4dn.xlarge")
    assert "no quota needs to be raised" in out


def test_an_image_that_is_gone_lists_its_siblings(run: Run, aws: Aws):
    del aws.parameters["/aws/service/neuron/dlami/pytorch-2.9/ubuntu-24.04/latest/image_id"]
    aws.parameters["/aws/service/neuron/dlami/jax-0.10/ubuntu-24.04/latest/image_id"] = ("x86_64", "/dev/sda1")
    status, out = run()
    assert status == 1
    gone = (
        "trn1.2xlarge: /aws/service/neuron/dlami/pytorch-2.9/ubuntu-24.04/latest/image_id does not exist in us-east-1"
    )
    assert gone in out
    assert "/aws/service/neuron/dlami/base/ubuntu-24.04/latest/image_id" in out
    assert "/aws/service/neuron/dlami/jax-0.10/ubuntu-24.04/latest/image_id" in out
    assert "conf/images.yaml" in out
    assert row(out, "g4dn.xlarge")[-1] == "ready"


def test_a_region_without_the_type_says_so(run: Run):
    status, out = run("region=eu-west-1", "--max-usd", "50", instances="trn1.2xlarge")
    assert status == 1
    assert "trn1.2xlarge: EC2 does not offer trn1.2xlarge in eu-west-1 (its price says nothing)" in out
    assert "region 'eu-west-1' has no price in the snapshot" in out


def test_a_region_that_is_not_enabled_is_a_mistake_not_an_answer(run: Run, aws: Aws):
    aws.fail("ec2:DescribeInstanceTypeOfferings", "OptInRequired", "You are not subscribed to this service", status=401)
    status, out = run("region=ap-east-1")
    assert status == 2
    assert out.startswith(
        "error: could not list where ap-east-1 offers the types: OptInRequired: You are not subscribed"
    )


@pytest.mark.parametrize("body", ["<html>sign in to the hotel's network</html", "", "<a/>"])
def test_an_answer_that_is_not_aws_is_called_so(run: Run, aws: Aws, body: str):
    aws.answer("servicequotas:GetServiceQuota", body)
    aws.answer("ec2:DescribeSubnets", body)
    status, out = run(instances="g4dn.xlarge")
    assert status == 1
    assert "could not read quota L-DB2E81BA in us-east-1: the answer has no Quota; it is not AWS that answered" in out
    assert re.search(r"could not list the subnets of vpc-\w+ in us-east-1: (the answer has no|it is not AWS)", out)


def test_a_subnet_without_a_way_out_is_no_place_for_a_box(run: Run, aws: Aws):
    ec2 = aws.admin("ec2")
    assert run(instances="g4dn.xlarge")[0] == 0  # furnishes the network, too
    table = ec2.describe_route_tables()["RouteTables"][0]["RouteTableId"]
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    status, out = run(instances="g4dn.xlarge")
    assert status == 1
    assert "no subnet with a way out to the internet in us-east-1a, us-east-1b" in out
    assert network.subnets("us-east-1", ("us-east-1a",)) == ()


def test_a_subnets_own_table_counts_before_the_main_one_and_nat_is_a_way_out(run: Run, aws: Aws):
    run(instances="g4dn.xlarge")
    ec2 = aws.admin("ec2")
    (vpc,) = {subnet["VpcId"] for subnet in ec2.describe_subnets()["Subnets"]}
    here = {s["AvailabilityZone"]: s["SubnetId"] for s in ec2.describe_subnets()["Subnets"]}
    closed, private = (ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in range(2))
    gateway = ec2.create_nat_gateway(SubnetId=here["us-east-1c"])["NatGateway"]["NatGatewayId"]
    ec2.create_route(RouteTableId=private, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway)
    ec2.associate_route_table(RouteTableId=closed, SubnetId=here["us-east-1a"])
    ec2.associate_route_table(RouteTableId=private, SubnetId=here["us-east-1b"])
    found = network.subnets("us-east-1", ("us-east-1c", "us-east-1b", "us-east-1a"))
    assert [(subnet.zone, subnet.is_public) for subnet in found] == [("us-east-1c", True), ("us-east-1b", False)]


def test_no_default_vpc_names_the_command_that_makes_one(run: Run, aws: Aws):
    aws.answer("ec2:DescribeVpcs", "<DescribeVpcsResponse><vpcSet/></DescribeVpcsResponse>")
    status, out = run(instances="g4dn.xlarge")
    assert status == 1
    assert "`aws ec2 create-default-vpc --region us-east-1` makes one" in out


@pytest.mark.parametrize(
    ("max_usd", "status", "words"),
    [
        ("0.5", 1, "g4dn.xlarge: one cell costs 0.68 USD at worst, over the cap of 0.5 USD"),
        ("1", 1, "the study: 2 cells on each of 1 types cost 1.36 USD at worst, over the cap of 1 USD"),
        ("1.36", 0, "1 of 1 candidates can be launched"),
        ("0", 2, "'0' is no amount in USD"),
        ("lots", 2, "'lots' is no amount in USD"),
    ],
)
def test_the_worst_case_is_held_against_the_cap(run: Run, max_usd: str, status: int, words: str):
    found, out = run("--max-usd", max_usd, instances="g4dn.xlarge")
    assert (found, words in out) == (status, True), out


def test_what_other_boxes_took_counts_against_the_cap(run: Run, project: Path):
    Ledger(project).put(entry("a", state="closed", cost_usd="0.64"))
    status, out = run("--max-usd", "1.36", instances="g4dn.xlarge")  # enough for these two cells alone
    assert status == 1
    said = "1.36 USD at worst beside 0.64 USD of the last 24 h, over the cap of 1.36 USD; launcher.max_usd=2 covers"
    assert said in out


def test_credentials_that_end_before_a_box_would_are_refused(run: Run, aws: Aws, monkeypatch: pytest.MonkeyPatch):
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=90)  # a box: 75 min, and 30 to send and to end
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", ends.isoformat())
    status, out = run("--max-usd", "20", instances="g4dn.xlarge")
    assert status == 1
    assert "expire in 90 min" in out
    assert "may end before a box does, 105 min after its start" in out


def test_temporary_credentials_without_a_date_are_named_as_such(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    status, out = run("--max-usd", "20", instances="g4dn.xlarge")
    assert (status, "temporary, nobody says until when (AWS_CREDENTIAL_EXPIRATION would)" in out) == (0, True)


@pytest.mark.parametrize(
    ("arn", "who"),
    [
        ("arn:aws:iam::123456789012:user/team/alice", "user alice"),
        ("arn:aws:sts::123456789012:assumed-role/Admin/alice@example.com", "role Admin"),
        ("arn:aws:iam::123456789012:root", "the account's root"),
    ],
)
def test_who_asks_is_said_without_the_account(arn: str, who: str):
    assert identity._who(arn) == who


def test_without_credentials_nothing_can_be_asked(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    status, out = run()
    assert status == 2
    assert out.startswith("error: could not find credentials: no AWS credentials found")


def test_a_refused_dry_run_shows_what_is_not_allowed_and_no_account_number(run: Run, aws: Aws):
    why = "You are not authorized: user/123456789012 Encoded authorization failure message: " + "x" * 900
    aws.fail("ec2:RunInstances", "UnauthorizedOperation", why, status=403)
    status, out = run("--max-usd", "20", instances="g4dn.xlarge")
    assert status == 1
    said = "could not launch g4dn.xlarge (dry run): not allowed (UnauthorizedOperation): You are not authorized"
    assert said in out
    assert "docs/iam-policy.json" in out
    assert "123456789012" not in out
    assert "xxx" not in out


def test_a_quota_that_may_not_be_read_is_asked_once_and_named(run: Run, aws: Aws):
    aws.fail("servicequotas:GetServiceQuota", "AccessDeniedException", "no")
    status, out = run("--max-usd", "20", "--request-quota", instances="g4dn.xlarge,g5.xlarge,g6.xlarge")
    assert status == 1
    assert out.count("could not read quota L-DB2E81BA in us-east-1: not allowed") == 3 + 1
    assert aws.actions()["servicequotas:GetServiceQuota"] == 1


def test_throttled_answers_are_retried(run: Run, aws: Aws):
    for action in ("servicequotas:GetServiceQuota", "ssm:GetParameter"):
        aws.fail(action, "ThrottlingException", times=2)
    assert run("--max-usd", "20")[0] == 0


def test_the_applied_value_counts_before_the_default(aws: Aws):
    assert quotas.applied(STANDARD, "us-east-1") == quotas.Quota(STANDARD, 5.0, is_default=True)
    aws.quotas[STANDARD] = 128.0
    assert quotas.applied(STANDARD, "us-east-1") == quotas.Quota(STANDARD, 128.0, is_default=False)


def test_a_mistyped_override_is_a_users_error(run: Run):
    status, out = run("regoin=us-west-2")
    assert status != 0
    assert "regoin" in out


def test_the_default_cap_is_the_launchers(run: Run):
    _, out = run("launcher.max_usd='0.1'", instances="g4dn.xlarge")
    assert f"over the cap of {Decimal('0.1')} USD" in out
