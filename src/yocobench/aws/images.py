"""Machine images: which one an accelerator family starts from, in a region (conf/images.yaml says by which parameter).

Not covered: what is installed on it (guest.sh).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from yocobench import config
from yocobench.aws import session
from yocobench.schema import ImageFamily, Instance

SIBLINGS_SHOWN = 6


class ImageGone(session.AwsError):
    """The parameter or the image behind it is not there; the text lists the parameter's siblings."""


@dataclass(frozen=True)
class Image:
    """An image that exists in the region."""

    ami_id: str
    name: str
    root_device_name: str
    """Ubuntu images use /dev/sda1, Amazon Linux /dev/xvda; a mapping under the other name adds a second disk."""
    root_gb: int | None
    """Size of the image's own root volume, below which a launch is refused; null where AWS does not say."""
    path: str
    python: str | None
    """Interpreter with the family's framework; null where the image brings none."""


def family(instance: Instance) -> ImageFamily:
    """Which image boxes of this type start from."""
    assert instance.chip is not None
    assert instance.hardware is not None, instance.name
    if instance.chip.kind != "cpu":
        return instance.chip.kind
    return "cpu-arm64" if instance.hardware.arch == "arm64" else "cpu-x86_64"


def resolve(family: ImageFamily, region: str) -> Image:
    """The family's newest image in the region. Raises ImageGone, AwsError; ValueError for a bad conf/images.yaml."""
    stated = config.images().families[family]
    ami_id = _parameter(stated.path, region)
    with session.asking(f"describe image {ami_id} of {stated.path}"):
        found = session.client("ec2", region).describe_images(ImageIds=[ami_id])["Images"]
    if not found or found[0].get("State", "available") != "available":
        raise ImageGone(f"image {ami_id}, which {stated.path} names, is not available in {region}")
    image = found[0]
    sizes = [
        mapping["Ebs"].get("VolumeSize")
        for mapping in image.get("BlockDeviceMappings", [])
        if mapping.get("DeviceName") == image["RootDeviceName"] and "Ebs" in mapping
    ]
    return Image(
        ami_id=ami_id,
        name=image.get("Name", ""),
        root_device_name=image["RootDeviceName"],
        root_gb=next((int(size) for size in sizes if size), None),
        path=stated.path,
        python=stated.python,
    )


def _parameter(path: str, region: str) -> str:
    try:
        with session.asking(f"read {path} in {region}"):
            return str(session.client("ssm", region).get_parameter(Name=path)["Parameter"]["Value"])
    except session.AwsError as error:
        if error.code != "ParameterNotFound":
            raise
    near = siblings(path, region)
    known = "\n  ".join(near) if near else "(none: the whole line is missing there)"
    raise ImageGone(
        f"{path} does not exist in {region}. Its siblings:\n  {known}\nWrite one of them into conf/images.yaml"
    )


def siblings(path: str, region: str) -> list[str]:
    """Parameters that exist near a path that does not, the most alike first.

    Climbs from the path's folder until something is found; /aws/service/<owner> is the last that is listed.
    """
    parts = path.split("/")  # "", "aws", "service", owner, ...
    for depth in range(len(parts) - 1, 3, -1):
        folder = "/".join(parts[:depth])
        with session.asking(f"list the parameters under {folder} in {region}"):
            pages = session.client("ssm", region).get_paginator("get_parameters_by_path")
            found = [row["Name"] for page in pages.paginate(Path=folder, Recursive=True) for row in page["Parameters"]]
        alike = [name for name in found if name.rsplit("/", 1)[1] == parts[-1]] or found
        if alike:
            return difflib.get_close_matches(path, alike, n=SIBLINGS_SHOWN, cutoff=0)
    return []
