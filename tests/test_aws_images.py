"""The images of the stand-in: one for each family, and what is named in place of one that is gone."""

from __future__ import annotations

from pathlib import Path

from aws_stand_in import Aws, aws_account  # noqa: F401
from yocobench import config
from yocobench.aws import images


def test_siblings_come_with_the_most_alike_first_from_all_pages(aws: Aws):
    aws.page_size = 1
    path = "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-pytorch-2.11-ubuntu-24.04/latest/ami-id"
    assert images.siblings(path, "us-east-1") == [
        "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-pytorch-2.12-ubuntu-24.04/latest/ami-id",
        "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id",
    ]


def test_every_family_has_an_image_with_its_root_device(aws: Aws, project: Path):
    found = {family: images.resolve(family, "us-east-1") for family in config.images().families}
    assert set(found) == {"cpu-x86_64", "cpu-arm64", "cuda", "neuron"}
    assert {image.root_device_name for image in found.values()} == {"/dev/sda1"}
    assert found["neuron"].python == "/opt/aws_neuronx_venv_pytorch_2_9/bin/python"
    assert found["cpu-arm64"].python is None
    assert images.family(config.instance("c8g.8xlarge")) == "cpu-arm64"
    assert images.family(config.instance("trn1.2xlarge")) == "neuron"
