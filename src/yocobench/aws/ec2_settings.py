"""The settings in conf/launcher/ec2.yaml, typed; the comments there say what each is for."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from yocobench.schema import Stated, UsageClass


class Ec2Settings(Stated):
    """How boxes are started, fed, watched and limited. Seconds and USD."""

    region: str
    usage_class: UsageClass
    bucket: str | None
    confirm: bool
    max_usd: Annotated[Decimal, Field(gt=0)]
    max_usd_window_h: PositiveFloat
    launch_parallelism: PositiveInt
    allow_dirty: bool
    setup_allowance_s: PositiveFloat
    volume_gb: Annotated[int, Field(ge=30)]
    heartbeat_s: PositiveFloat
    poll_s: PositiveFloat
    boot_s: PositiveFloat
    silence_s: PositiveFloat
    torch_cpu_index: str | None
    extra_packages: tuple[str, ...]
