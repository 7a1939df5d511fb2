"""What the documentation says can be done can be done, and the house rules that a reader relies on hold.

docs/decision.md against its generator: test_selection_report.py. docs/reliability.md: test_ec2_faults.py.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob

from yocobench import config
from yocobench.bench.workloads import build_workload
from yocobench.bench.workloads.base import Workload
from yocobench.launchers import build_launcher
from yocobench.launchers.base import Launcher
from yocobench.schema import Config
from yocobench.selection import decision as layout
from yocobench.selection import report

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
COMMENTED = [REPOSITORY / name for name in ("params.yaml", "dvc.yaml", "Makefile")] + sorted(
    [*REPOSITORY.glob("conf/**/*.yaml"), *REPOSITORY.glob("src/**/*.py"), *REPOSITORY.glob("benchmarks/*.py")]
)
LONGEST_FILE = 300
CHECKED_IN = ("conf/", "docs/", "src/", "tests/", "benchmarks/")
COMMAND = re.compile(r'python -m (yocobench(?:\.\w+)+)([^`"\n]*)')


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def stated(paths: list[Path]) -> Iterator[tuple[str, str, str]]:
    """File, module and arguments of every command of ours that the files name."""
    for path in paths:
        for module, arguments in COMMAND.findall(path.read_text(encoding="utf-8")):
            yield str(path.relative_to(REPOSITORY)), module, arguments


def tracked() -> list[Path]:
    """The files that git knows and that are still there."""
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [Path(name) for name in listed.stdout.split("\0") if name and Path(name).is_file()]


# --- commands ---------------------------------------------------------------------------------------------------


def test_every_command_that_is_named_is_a_module_that_can_be_run():
    modules = {(file, module) for file, module, _ in stated([*PAGES, *COMMENTED])}
    assert len(modules) > 10
    for file, module in modules:
        found = importlib.util.find_spec(module)
        assert found is not None, f"{file}: python -m {module}: no such module"
        assert found.origin is not None
        source = Path(found.origin).with_name("__main__.py") if found.submodule_search_locations else Path(found.origin)
        assert '__name__ == "__main__"' in source.read_text(encoding="utf-8"), f"{file}: {module} is no command"


def test_a_shell_takes_every_command_as_it_is_written():
    written = [f"python -m {module} {words}" for _, module, words in stated(PAGES)]
    script = re.sub(r"<\w+>", "NAME", "\n".join(written))
    done = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"(?m)^(\w+):", Path("Makefile").read_text()))
    named = {(page.name, name) for page in PAGES for name in re.findall(r"(?m)(?:^|`)make (\w+)", page.read_text())}
    assert {"decide", "test", "ui"} <= {name for _, name in named}
    assert {name for _, name in named} <= targets, (named, targets)


def test_every_make_target_that_is_declared_is_defined():
    makefile = Path("Makefile").read_text()
    [declared] = re.findall(r"(?m)^\.PHONY: (.*)$", makefile)
    assert set(declared.split()) == set(re.findall(r"(?m)^(\w+):", makefile))


def hydra_words(arguments: str) -> list[str]:
    """The overrides among a command's arguments, without quotes, flags, and what a comment behind them says."""
    before_comment = arguments.partition(" #")[0]
    words = re.findall(r"(?:^|[\s'\"])([+~\w][\w./@+]*=[^\s'\"]+)", before_comment)
    return [word.rstrip(".,;:") for word in words]


def singles(override: str) -> list[str]:
    """What a sweep makes of one override: itself, or one for each of a list or of the names that fit a pattern."""
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return [override]
    value = parsed.value()
    if isinstance(value, Glob):
        known = config.names(str(parsed.key_or_group))
        return [f"{parsed.key_or_group}={n}" for n in known if any(fnmatch.fnmatch(n, p) for p in value.include)]
    return [f"{parsed.get_key_element()}={one}" for one in parsed.sweep_string_iterator()]


def test_a_sweep_is_each_of_its_values():
    assert singles("a.b=1") == ["a.b=1"]
    assert singles("workload.micro_batch_size=1,2") == ["workload.micro_batch_size=1", "workload.micro_batch_size=2"]
    assert "instance=g4dn.xlarge" in singles("instance=glob(*)")


EXAMPLES = sorted(
    {
        (file, tuple(words))
        for file, _, arguments in stated([*PAGES, *COMMENTED])
        if (words := hydra_words(arguments)) and "<" not in arguments and "{" not in arguments
    }
)


@pytest.mark.parametrize(("file", "words"), EXAMPLES, ids=[f"{file}: {' '.join(words)}" for file, words in EXAMPLES])
def test_every_override_that_is_shown_composes(file, words):
    choices = [singles(word) for word in words]
    # Each value once, beside the first of the others: a sweep's product says nothing more here.
    combinations = {tuple(one[min(i, len(one) - 1)] for one in choices) for i in range(max(map(len, choices)))}
    for overrides in sorted(combinations):
        assert composed(overrides).workloads, (file, overrides)


@functools.cache
def composed(overrides: tuple[str, ...]) -> Config:
    """What a command with these words is given. Several pages show the same."""
    with initialize_config_dir(version_base=None, config_dir=str(REPOSITORY / "conf")):
        return config.load(compose(config_name="config", overrides=list(overrides)))


# --- pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_file_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    linked = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    named = [word for words in re.findall(r"`([^`\n]+)`", text) for word in words.split()]
    paths = {word.rstrip(".,;:") for word in named if word.startswith(CHECKED_IN) and not set(word) & set("<>*${}")}
    outputs = Path("dvc.yaml").read_text()
    for path in filter(None, [*linked, *paths]):
        here = (page.parent / path).resolve() if path in linked else REPOSITORY / path
        made = str(here.relative_to(REPOSITORY))
        assert here.exists() or f"- {made}:" in outputs, f"{page.name} names {path}, which does not exist"


def test_the_readme_shows_the_answer_that_the_decision_file_gives():
    answer = Path("results/decision.json")
    if not answer.is_file():
        pytest.skip("results/decision.json does not exist yet: dvc repro makes it")
    block = report.readme_block(layout.load(answer.read_text(encoding="utf-8")))
    assert block in Path("README.md").read_text(encoding="utf-8"), "README.md is not of this decision: dvc repro"


# --- the catalogue ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [path.stem for path in sorted((REPOSITORY / "conf/workload").glob("*.yaml"))])
def test_every_workload_of_the_catalogue_can_be_made(name):
    built = build_workload(config.workload(name))
    assert isinstance(built, Workload)
    assert built.samples_per_item() >= 1


@pytest.mark.parametrize("name", [path.stem for path in sorted((REPOSITORY / "conf/launcher").glob("*.yaml"))])
def test_every_launcher_of_the_catalogue_can_be_made(name):
    assert isinstance(build_launcher(config.entry("launcher", name)), Launcher)


# --- house rules ------------------------------------------------------------------------------------------------


def test_no_file_of_code_is_longer_than_it_can_be_read():
    files = [path for top in ("src", "tests", "benchmarks") for path in sorted(Path(top).rglob("*.py"))]
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_tracked_file_names_a_place_on_somebodys_machine():
    place = re.compile(rb"(?<![\w.~/-])/(?:home|root|Users|work|mnt)/[\w.-]+")
    found = {str(path): hit.group().decode() for path in tracked() if (hit := place.search(path.read_bytes()))}
    assert found == {}
