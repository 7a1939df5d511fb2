"""Check whether each candidate can be launched on EC2, and what it costs at worst. Starts nothing.

    python -m yocobench.preflight                              # the study of params.yaml
    python -m yocobench.preflight --max-usd 25 region=us-west-2
    python -m yocobench.preflight --request-quota              # also print the commands that ask AWS for more vCPUs

Exit status: 0 every candidate that is not excluded can be launched; 1 some cannot, or the study's worst case is over
the cap; 2 AWS could not be asked (no credentials, no network, a mistake in the configuration). Not covered: capacity.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from yocobench import config, pricelist
from yocobench.aws import identity, launch_plan, mailbox, quotas, session
from yocobench.aws.checks import Candidate, Checker
from yocobench.aws.ec2_settings import Ec2Settings
from yocobench.aws.ledger import Ledger
from yocobench.schema import Config, Instance
from yocobench.selection.eligibility import exclude, times_out

COLUMNS = ("credentials", "offered", "quota", "image", "network", "worst case", "dry run")


def run(cfg: Config, max_usd: Decimal | None, request_quota: bool, console: Console) -> int:
    """Check the study and print the answers. Raises AwsError, ValueError."""
    now = dt.datetime.now(dt.UTC)
    settings = config.validate(Ec2Settings, cfg.launcher.args, f"conf/launcher/{cfg.launcher.name}.yaml")
    if max_usd is not None:
        settings = settings.model_copy(update={"max_usd": max_usd})
    wall_clock_s = launch_plan.wall_clock_s(cfg.protocol, settings.setup_allowance_s)
    who = identity.whoami(settings.region, identity.needed_s(wall_clock_s))
    prices = pricelist.load(config.root() / pricelist.SNAPSHOT)
    instances = {one.name: one for one in config.instances(cfg.instances)}
    instances = {name: instance for name, instance in instances.items() if not instance.detect}
    region = settings.region
    excluded = {name: exclude(instance, region, prices.offer(name, region)) for name, instance in instances.items()}
    names = [name for name, exclusion in excluded.items() if exclusion is None]
    checker = Checker(settings, cfg.protocol, prices, who)
    candidates = [
        replace(one, wasted=_times_out(instances[one.name], cfg)) for one in checker.check(names, instances, now)
    ]
    cells = len(cfg.workloads) * len(cfg.subsets)
    console.print(f"{settings.region}, {settings.usage_class}. Credentials: {escape(who.text(now))}")
    if settings.bucket is None:
        console.print("No bucket is named yet (launcher.bucket=NAME): it is not checked")
    console.print(_table(candidates, {name: e.reason for name, e in excluded.items() if e is not None}))
    problems = [f"{one.name}: {problem}" for one in candidates for problem in one.problems]
    problems += [*_over_cap(candidates, cells, settings), *_bucket(settings)]
    for problem in dict.fromkeys(problems):
        console.print(f"- {problem}", markup=False, highlight=False, soft_wrap=True)
    if request_quota:
        for line in quota_requests(checker, [instances[name] for name in names], cells, settings):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    ready = sum(1 for one in candidates if not one.problems)
    console.print(f"{ready} of {len(candidates)} candidates can be launched; capacity is known only when asked for")
    return 1 if problems else 0


def _times_out(instance: Instance, cfg: Config) -> str:
    return times_out(instance.chip.kind, cfg) if instance.chip else ""


def quota_requests(checker: Checker, instances: Sequence[Instance], cells: int, settings: Ec2Settings) -> list[str]:
    """Per quota that is too small, the command that asks for enough: as many boxes as may run at once."""
    boxes: dict[str, list[int]] = {}
    for instance in instances:
        code = quotas.code(instance, settings.usage_class)
        if code is not None and instance.hardware is not None:
            boxes.setdefault(code, []).extend([instance.hardware.vcpus] * cells)
    lines = []
    for code, vcpus in sorted(boxes.items()):
        wanted = sum(sorted(vcpus, reverse=True)[: settings.launch_parallelism])
        try:
            enough = checker.quota(code).vcpus >= wanted
        except session.AwsError as error:
            lines.append(f"# {error}")
            enough = False
        if not enough:
            lines.append(quotas.request_command(code, settings.region, wanted))
    return lines or ["no quota needs to be raised"]


def _over_cap(candidates: list[Candidate], cells: int, settings: Ec2Settings) -> list[str]:
    """The whole study's worst case against what the cap leaves: a cell that would go over it is not started."""
    try:
        taken = Ledger(config.root()).taken_usd(settings.max_usd_window_h)
    except ValueError as error:  # it would keep a launch, too
        return [str(error)]
    total = sum((one.worst_usd * cells for one in candidates if one.worst_usd is not None), Decimal(0))
    if total + taken <= settings.max_usd:
        return []
    beside = f" beside {taken:.2f} USD of the last {settings.max_usd_window_h:g} h" if taken else ""
    enough = (total + taken).to_integral_value("ROUND_CEILING")
    return [
        f"the study: {cells} cells on each of {len(candidates)} types cost {total} USD at worst{beside}, over the cap "
        f"of {settings.max_usd} USD; launcher.max_usd={enough} covers them all"
    ]


def _bucket(settings: Ec2Settings) -> list[str]:
    """What is wrong with the bucket. None yet is nothing wrong: a launch asks for one before anything else."""
    if settings.bucket is None:
        return []
    try:
        problem = mailbox.bucket_problem(settings.bucket, settings.region)
    except session.AwsError as error:
        problem = str(error)
    return [problem] if problem else []


def _table(candidates: list[Candidate], excluded: dict[str, str]) -> Table:
    table = Table()
    for name in ("candidate", *COLUMNS, "verdict"):
        table.add_column(name, overflow="fold")  # an image id is for copying: never cut
    for one in candidates:
        texts = [escape(check.text) if not check.problem else f"[red]{escape(check.text)}[/]" for check in one.checks]
        table.add_row(one.name, *texts, "[red]no[/]" if one.problems else "[green]ready[/]")
    for name, reason in excluded.items():
        table.add_row(name, *["" for _ in COLUMNS], f"excluded: {escape(reason.partition(':')[0])}")
    return table


def _usd(text: str) -> Decimal:
    try:
        usd = Decimal(text)
    except InvalidOperation:
        usd = Decimal(0)
    if not usd.is_finite() or usd <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount in USD, such as 25")
    return usd


def main(argv: list[str] | None = None) -> None:
    """The command; Hydra composes the configuration from what argparse leaves over."""
    parser = argparse.ArgumentParser(prog="python -m yocobench.preflight", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--max-usd", type=_usd, help="cap on the bill, in place of launcher.max_usd")
    parser.add_argument("--request-quota", action="store_true", help="print the commands that ask for more vCPUs")
    parser.add_argument("overrides", nargs="*", help="region=eu-west-1 launcher.volume_gb=200 ...")
    given = parser.parse_args(argv)
    chosen = [] if any(text.startswith("launcher=") for text in given.overrides) else ["launcher=ec2"]

    def preflight(cfg: Config) -> int:
        return run(cfg, given.max_usd, given.request_quota, Console())

    sys.argv = [sys.argv[0], *chosen, *given.overrides]
    config.stage(preflight)()


if __name__ == "__main__":
    main()
