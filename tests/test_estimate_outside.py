"""Files from outside the tree, and words, that the estimator cannot use: refused in one line each."""

from pathlib import Path

import pytest

from test_estimate import K80
from yocobench.estimate import __main__ as table
from yocobench.estimate import outside


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
