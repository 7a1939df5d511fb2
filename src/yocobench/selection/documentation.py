"""docs/decision.md: every field of results/decision.json, from the models' own docstrings.

python -m yocobench.selection.documentation > docs/decision.md
"""

from __future__ import annotations

from pydantic import BaseModel

from yocobench.selection import bills
from yocobench.selection import decision as layout
from yocobench.selection.report import table

PREAMBLE = f"""# The decision file

`results/decision.json` follows the schema `{layout.SCHEMA}`. This page is generated from
`yocobench/selection/decision.py` (`python -m yocobench.selection.documentation > docs/decision.md`), and a test checks
that it is up to date. The same as JSON schema: `DecisionDocument.model_json_schema(by_alias=True)`. Schema 1, which had
no `bills`, is still read.

Money is a decimal string in USD, times are hours, intervals hold 90 %, unknown is null. How each number is computed,
with sources: `cost.py` (bill), `bills.py` (every way to pay), `score.py` (Monte Carlo draws), `odds.py` (probabilities,
regret, value of a measurement), `ranking.py` (who could still win), `equal_work.py` (the band of the loss curve),
`objectives.py` and `sensitivity.py`, all under `src/yocobench/selection/`.

Under `launch: ec2` the stage `launch` starts boxes in the order of `measure_next`. It starts none whose
`could_still_win` is false in the decision on file, provided that decision has the same terms and prices: the receipt
then says `unmeasured`, with the reason, and the question is asked again at each `dvc repro`. Each finished measurement
is compared with the others at once, and boxes whose type can no longer win are ended. The baseline is always measured.
`force=true` measures every cell, except a Trainium cell whose `protocol.timeout_s` does not exceed its compilation
(`assume.neuron_compile_s`). Where you confirm boxes one by one, the order is DVC's own order of the train stages, which
is unspecified.

Estimates that rest on the same evidence err together, and the common error cancels in their ratios (docs/estimator.md).
Probabilities, regret and advice account for that: one measurement also informs about other types, and `together_with`
names a second one where only both together are worth their bill. `could_still_win` looks at each interval alone, and
therefore rules out less.

Advice stops where the expected gain falls below the bill; that threshold was not tuned on data. On published run times
(`benchmarks/decision.py`), following it costs 41 % of measuring everything, at 0.0 % regret, among up to 72 clusters.
Among three GPUs it costs 64 %, at 1.0 % regret; the aim was half, but among three there is little to leave out.
Requiring a gain of 1.5 or 2 times the bill would have cost 44 % there at the same regret, but at 3 times the regret is
34 %: too near a cliff for this table to set the threshold.
"""


def page() -> str:
    """The text of docs/decision.md."""
    models: tuple[type[BaseModel], ...] = (
        layout.DecisionDocument,
        layout.Decision,
        layout.Row,
        bills.Bills,
        bills.Bill,
        layout.Unranked,
        layout.Sensitivity,
        layout.Advice,
        layout.NearestMiss,
        layout.Asked,
    )
    parts = [PREAMBLE]
    for model in models:
        fields = [
            (f"`{field.alias or name}`", _type(field.annotation), " ".join((field.description or "").split()))
            for name, field in model.model_fields.items()
        ]
        parts += [f"## {model.__name__}\n", f"{model.__doc__}\n", table(("field", "type", "meaning"), fields) + "\n"]
    return "\n".join(parts)


def _type(annotation: object) -> str:
    """As the JSON has it."""
    text = str(annotation) if not isinstance(annotation, type) else annotation.__name__
    for old, new in (
        ("yocobench.selection.decision.", ""),
        ("yocobench.selection.bills.", ""),
        ("typing.Literal", "one of "),
        ("datetime.date", "date"),
        ("decimal.Decimal", "decimal"),
        ("Decimal", "decimal"),
        ("None", "null"),
        ("tuple", "list of "),
        (", ...]", "]"),
        (" | ", " or "),
    ):
        text = text.replace(old, new)
    return text


if __name__ == "__main__":
    print(page(), end="")
