"""Files from outside the tree, and words, that the estimator cannot use: refused in one line each."""

from pathlib import Path

import pytest

from test_estimate import K80
from yocobench import config
from yocobench.estimate import __main__ as table
from yocobench.estimate import calibrate, outside
from yocobench.estimate.estimator import NoEstimate


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [a\nb: }", r"bad.yaml: line 2, column 2: .*expected ',' or '\]'"),
        (K80.replace("240", "${nowhere}"), "bad.yaml: Interpolation key 'nowhere' not found"),
        (K80.replace("kind", "knd"), r"knd: unknown key; did you mean 'kind'\?"),
        ("- a", "bad.yaml: is a list; write keys with values"),
        ("5", "bad.yaml: is one value, 5; write keys with values"),
    ],
)
def test_a_file_that_is_no_card_is_refused_in_words(tmp_path: Path, text: str, said: str):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        outside.read(path)


def test_refresh_is_true_or_false(capsys: pytest.CaptureFixture[str]):
    assert table.main(["refresh=yes"]) == 2
    assert capsys.readouterr().err == "error: refresh=yes: give true or false\n"


def test_a_mistake_in_a_file_is_told_before_the_host_is_timed(tmp_path, monkeypatch, capsys):
    def timed(*words, **more):
        raise AssertionError("minutes went by")

    monkeypatch.setattr(calibrate, "load", timed)
    assert table.main(["workload=yoco-lm", f"instance={tmp_path / 'k80.yaml'}"]) == 2
    assert "k80.yaml" in capsys.readouterr().err


def test_a_type_that_cannot_train_has_no_memory_to_ask_about():
    found = NoEstimate("yoco-lm", "inf1.xlarge", "cannot train: inference only")
    columns = table.table(config.workload("yoco-lm"), [found]).columns
    assert [list(columns[i].cells) for i in (5, 7)] == [["-"], ["cannot train: inference only"]]
