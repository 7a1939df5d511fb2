"""The bucket is looked at before anything is planned: there, ours, and in the region whose URLs a box gets."""

import pytest

from aws_stand_in import aws_account  # noqa: F401
from ec2_world import BUCKET, World, ec2_world, git_checkout, s3_bucket  # noqa: F401
from yocobench import preflight
from yocobench.aws import mailbox

FAR, MISSING = "a-bucket-far-away", "a-bucket-that-nobody-made"
MAKE = "`aws s3 mb s3://NAME --region us-east-1` makes one; name it in conf/launcher/ec2.yaml (bucket)"
WORDS = {
    FAR: f"bucket 'a-bucket-far-away' is in eu-west-1, not in us-east-1, where a box would look for it; {MAKE}",
    MISSING: f"bucket 'a-bucket-that-nobody-made' does not exist; {MAKE}",
    BUCKET: "bucket 'a-bucket-for-tests': S3 does not let these credentials look at it: it is another account's, or "
    f"docs/iam-policy.json is not attached with its name filled in; {MAKE}",
}


def spoil(world: World, name: str) -> None:
    """Make it what its words say."""
    if name == FAR:
        there = {"LocationConstraint": "eu-west-1"}
        world.aws.admin("s3", "eu-west-1").create_bucket(Bucket=FAR, CreateBucketConfiguration=there)
    elif name == BUCKET:
        world.aws.fail("s3:ListBucket", "AccessDenied", status=403)


@pytest.mark.parametrize("name", WORDS)
def test_a_bucket_that_a_box_cannot_use_is_refused_before_the_plan(
    world: World, capsys: pytest.CaptureFixture[str], name: str
):
    spoil(world, name)
    with pytest.raises(ValueError, match=r"^bucket ") as caught:
        world.run("m5a.large", bucket=name)
    assert str(caught.value) == WORDS[name]
    assert "worst case" not in capsys.readouterr().err
    assert world.aws.actions()["s3:PutObject"] == 0


@pytest.mark.parametrize("name", WORDS)
def test_the_preflight_names_it(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
):
    monkeypatch.setenv("COLUMNS", "220")
    spoil(world, name)
    with pytest.raises(SystemExit) as stopped:
        preflight.main(["instances=[m5a.large]", f"launcher.bucket={name}"])
    assert (stopped.value.code, f"- {WORDS[name]}\n" in capsys.readouterr().out) == (1, True)


def test_the_preflight_finds_a_good_bucket_good(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "220")
    preflight.main(["instances=[m5a.large]", f"launcher.bucket={BUCKET}"])  # status 0: no SystemExit
    assert "bucket" not in capsys.readouterr().out.lower()


def test_a_name_that_is_none_is_said_to_be(world: World):
    with pytest.raises(OSError, match=r"look at the bucket 's3://mine': Invalid bucket name \"s3://mine\""):
        mailbox.bucket_problem("s3://mine", "us-east-1")
