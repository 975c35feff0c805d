"""What the figures mean, in plain sentences that claim no more than the intervals allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .comparison import Interval

if TYPE_CHECKING:
    from .evaluate import Difference, Result

METRIC_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "precision": "precision",
    "recall": "recall",
    "answered": "answered",
}
FEW_UNITS = 30
_WIDE = 0.05
_SHOWN = 10  # labels that a sentence names
_SEEN = {
    "train": "was trained on {} gold texts (found in train.spacy) and looks better than it is",
    "dev": "was chosen by its answers to {} gold texts (found in dev.spacy) and may look better than it is",
}


def points(value: float, sign: bool = False) -> str:
    """RETURNS (str): A share in points of 100, one decimal, with a true minus sign."""
    rounded = round(100 * value, 1) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''}.1f}".replace("-", "−")


def verdict(
    main: str,
    texts: int,
    units: int,
    results: Sequence[Result],
    differences: Sequence[Difference],
    *,
    unreached: Mapping[str, int] | None = None,
    left_out: Mapping[str, int] | None = None,
    seen: Mapping[str, int] | None = None,
) -> tuple[str, ...]:
    """Say what was found.

    main (str): The metric that decides.
    texts, units (int): How many texts there are, and how many things were resampled.
    unreached, left_out, seen (Optional[Mapping[str, int]]): See `Evaluation`.
    RETURNS (Tuple[str, ...]): What makes the figures other than they should be; the comparison with each other system;
        then what a reader must know to judge it.
    """
    said = [
        f"The {results[0].name} {_SEEN[part].format(f'{count} of {texts}')}: `spacy-distill curate --gold` keeps such"
        " texts out."
        for part, count in (seen or {}).items()
        if count
    ]
    said += [
        f"The {name} was not reached for {silent} of {texts} texts: it has no figures here. Run `spacy-distill"
        " annotate` on the gold file again, which asks for them (or add them to the file of recorded replies first),"
        " and then evaluate again."
        for name, silent in (unreached or {}).items()
    ]
    said += [_compare(main, difference) for difference in differences]
    said += [
        f"The {name} was not reached for {silent} of {texts + silent} texts: they are left out, for all."
        for name, silent in (left_out or {}).items()
    ]
    for difference in differences:
        macro = difference.metrics["macro_f1"]
        if main != "macro_f1" and macro.high < 0 and difference.metrics[main].high >= 0:
            said.append(
                f"Over all labels alike (macro-F1) the {difference.first} is significantly worse than"
                f" {_the(difference)}: {_figures(macro)}. Rare labels suffer."
            )
    for result in results:
        said += _shortcomings(result, texts)
    over = f"{texts} texts" if units == texts else f"{texts} texts in {units} groups"
    if units < FEW_UNITS:
        said.append(f"There are only {over}: too few for the intervals to be trusted.")
    elif differences:
        first = differences[0].metrics[main]
        width = (first.high - first.low) / 2
        if width > _WIDE and not first.significant:
            said.append(f"These {over} cannot tell differences under about {points(width)} points.")
    return tuple(said)


def _compare(main: str, difference: Difference) -> str:
    found = difference.metrics[main]
    if found.value == found.low == found.high == 0:
        relation = "scores exactly the same as"
    elif found.significant:
        relation = "is significantly better than" if found.low > 0 else "is significantly worse than"
    else:
        relation = "is not significantly better than" if found.value > 0 else "is not significantly worse than"
    return f"The {difference.first} {relation} {_the(difference)}: {_figures(found)} ({METRIC_NAMES[main]})."


def _the(difference: Difference) -> str:
    if difference.other == "majority":
        return "always giving the most frequent label"
    return "its teacher" if difference.other == "teacher" else f"the {difference.other}"


def _figures(found: Interval) -> str:
    return f"{points(found.value, True)} points, 95 % interval {points(found.low, True)} to {points(found.high, True)}"


def _shortcomings(result: Result, texts: int) -> list[str]:
    said = []
    if result.name != "majority" and result.lacks:
        one, many = ("text", "texts") if result.errors is None else ("entity", "entities")
        named = [f"{label!r} ({count} {one if count == 1 else many})" for label, count in result.lacks.items()]
        shown = ", ".join(named[:_SHOWN]) + (" …" if len(named) > _SHOWN else "")
        why = (
            "were not on offer to the teacher" if result.name == "teacher" else f"the {result.name} was not trained on"
        )
        wrong = "it counts as wrong" if [*result.lacks.values()] == [1] else "they count as wrong"
        said.append(f"Gold has labels that {why}: {shown}; {wrong}.")
    if result.name != "majority" and result.never:
        shown = ", ".join(map(repr, result.never[:_SHOWN])) + (" …" if len(result.never) > _SHOWN else "")
        said.append(f"The {result.name} never predicts {shown} on these texts.")
    silent = texts - result.statuses.get("ok", 0)
    if silent:
        why = ", ".join(f"{count} {status}" for status, count in result.statuses.items() if status != "ok")
        said.append(
            f"The {result.name} has no usable answer for {silent} of {texts} texts ({why}): they count as wrong."
        )
    return said
