"""Which kind of confidence to use, and whether to filter by it: from annotated gold to a recommendation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from spacy.vocab import Vocab

from ..docs import read_annotations
from ..errors import InputError, StageError, counted
from ..files import describe_file, write_json
from ..texts import gold_annotations, is_config_key, read_texts
from ..types import Annotation, ConfidenceKind, TaskName
from .comparison import interval
from .confidence import HIGH, RESAMPLES, Judged, KindScore, judge, score
from .confidence_curves import write_curves
from .confidence_filter import MIN_ERRORS, MIN_GAIN, Filter, plan
from .scores import label_set
from .systems import check_label_names
from .verdict import FEW_UNITS, points

FIGURES, CURVES = "calibration.json", "risk_coverage.svg"

_SHOWN = 10  # labels that a sentence names
_CHEAPEST: tuple[ConfidenceKind, ...] = ("logprob", "verbalised", "votes")
"""A log-probability costs nothing, a figure in words a few tokens, votes several replies."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What a small gold sample says about a teacher's confidences.

    texts (int): Gold's texts.
    kinds (Tuple[KindScore, ...]): Every kind, in the order given.
    best (Optional[str]): The one to use; None if none tells right from wrong, or the texts are too few to say.
    filter (Optional[Filter]): What filtering by the best would do.
    said (Tuple[str, ...]): All of it in sentences.
    """

    texts: int
    kinds: tuple[KindScore, ...]
    best: str | None
    filter: Filter | None
    said: tuple[str, ...]

    def config(self) -> str:
        """RETURNS (str): The lines for `configs/curation.cfg`; "" if filtering would not help."""
        if self.filter is None or not self.filter.helps:
            return ""
        lines = [
            "[rules.min_confidence]",
            '@misc = "spacy_distill.min_confidence.v1"',
            f"threshold = {self.filter.threshold}",
            "",
            "[rules.min_confidence.per_label]",
            *(f"{name} = {value}" for name, value in self.filter.per_label.items() if is_config_key(name)),
        ]
        return "\n".join(lines)


def recommend(
    gold: Sequence[Annotation],
    annotated: Mapping[str, Sequence[Annotation]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Recommendation:
    """Compare kinds of confidence on the same gold, and choose.

    The best kind has the lowest AURC; of those not significantly worse (paired bootstrap), the cheapest. It has to tell
    right answers from wrong ones: its AUROC's interval lies above 0.5. Of a kind with answers to fewer
    than `FEW_UNITS` texts, or groups of texts, nothing is concluded.

    annotated (Mapping[str, Sequence[Annotation]]): A name for each annotation of gold's texts.
    """
    judged = [judge(name, gold, annotations) for name, annotations in annotated.items()]
    scored = [score(each, resamples=resamples, seed=seed) for each in judged]
    kinds = tuple(found for found, _ in scored)
    about = [*_unheard(gold, annotated), *_about(kinds), *_too_few(judged)]
    enough = [i for i, each in enumerate(judged) if _independent(each) >= FEW_UNITS]
    useful = [i for i in enough if (auroc := kinds[i].auroc) is not None and auroc.low > 0.5]
    if not useful:
        nothing = [_nothing_known([kinds[i] for i in enough])] if enough else []
        return Recommendation(len(gold), kinds, None, None, (*about, *nothing))
    lowest = min(useful, key=lambda i: kinds[i].aurc.value)
    close = [
        i
        for i in useful
        if interval(kinds[i].aurc.value - kinds[lowest].aurc.value, scored[i][1] - scored[lowest][1]).low <= 0
    ]
    best = min(close, key=lambda i: (_CHEAPEST.index(kinds[i].kind), kinds[i].aurc.value))
    found = plan(judged[best], resamples=resamples, seed=seed)
    said = [*about, _choice(kinds, best, lowest), *_filtering(kinds[best], found, gold[0].task == "textcat")]
    return Recommendation(len(gold), kinds, kinds[best].name, found, tuple(said))


def _unheard(gold: Sequence[Annotation], annotated: Mapping[str, Sequence[Annotation]]) -> list[str]:
    """RETURNS (List[str]): Of each annotation, gold's labels that its teacher did not have."""
    said = []
    for name, records in annotated.items():
        offered = label_set(records)
        names = (name for record in gold for name in (*record.positive(), *(span.label for span in record.ents or ())))
        counts = Counter(label for label in names if label not in offered)
        if counts:
            named = ", ".join(f"{label!r} ({count})" for label, count in counts.most_common(_SHOWN))
            more = ", …" if len(counts) > _SHOWN else ""
            said.append(
                f"{name}: gold has labels that were not on offer: {named}{more}. What the teacher says there counts as"
                " wrong."
            )
    return said


def _independent(judged: Judged) -> int:
    """RETURNS (int): How many texts, or groups of texts, its answers are to."""
    return len(np.unique(judged.unit))


def _too_few(judged: Sequence[Judged]) -> list[str]:
    few = [each for each in judged if _independent(each) < FEW_UNITS]
    return [
        f"{each.name}: answers to only {counted(_independent(each), 'text')}, or groups of texts: too few to tell"
        " whether its confidence can be trusted, or whether to filter by it. 100 are a beginning, 300 are better."
        for each in few
    ]


def _about(kinds: Sequence[KindScore]) -> list[str]:
    said = []
    for kind in kinds:
        if kind.high >= 0.9:
            said.append(
                f"{kind.name}: {100 * kind.high:.0f} % of the answers have a confidence of {HIGH} or more; of all"
                f" answers {100 * kind.accuracy.value:.1f} % are right."
            )
        if kind.without_answer or kind.without_confidence:
            said.append(
                f"{kind.name}: {kind.without_answer} texts have no usable answer, {kind.without_confidence} answers no"
                " confidence of this kind. They are left aside."
            )
    return said


def _nothing_known(kinds: Sequence[KindScore]) -> str:
    if all(kind.auroc is None for kind in kinds):
        return "Every answer is right, or every answer wrong: nothing can be said of confidence. Do not filter."
    return (
        "No kind of confidence tells right answers from wrong ones here: every AUROC might be that of a coin. Filtering"
        " would not help."
    )


def _choice(kinds: Sequence[KindScore], best: int, lowest: int) -> str:
    if len(kinds) == 1:
        return f"{kinds[best].name} ({kinds[best].kind}) tells right answers from wrong ones."
    if best == lowest:
        lower = any(kind.aurc.value < kinds[best].aurc.value for kind in kinds)
        among = ", of those that tell right answers from wrong ones" if lower else ""
        return f"Use {kinds[best].name} ({kinds[best].kind}): the lowest mean share of errors (AURC){among}."
    return (
        f"Use {kinds[best].name} ({kinds[best].kind}): {kinds[lowest].name} is not significantly better, and costs"
        " more replies."
    )


def _filtering(kind: KindScore, found: Filter, soft: bool) -> list[str]:
    errors = round(kind.answers * found.errors_before)
    if errors < MIN_ERRORS:
        few = "only 1 of {} answers is" if errors == 1 else f"only {errors} of {{}} answers are"
        return [f"Do not filter: {few.format(kind.answers)} wrong."]
    if found.gain is None:
        return ["The teacher is no better than chance: no filter mends that. Change the teacher or its prompt."]
    gain = f"{points(found.gain.value, True)} % ({points(found.gain.low, True)} to {points(found.gain.high, True)})"
    counted = "for the student, counted in clean examples and measured on held-out answers"
    if not found.helps:
        why = "too small" if found.gain.value < MIN_GAIN else "too uncertain"
        return [
            f"Do not filter: the estimated gain {counted}, {gain}, is {why}: we advise it only from"
            f" +{100 * MIN_GAIN:.0f} % on, with the whole interval above 0. Train on all of them"
            + (", with soft labels." if kind.kind != "verbalised" and soft else ".")
        ]
    said = [
        f"Filtering should help: {100 * found.kept:.0f} % of the answers stay, with {100 * found.errors_after:.1f} %"
        f" errors in place of {100 * found.errors_before:.1f} %. Estimated gain {counted}: {gain}."
    ]
    rare = [name for name, (given, stay) in found.labels.items() if given and stay < 0.5 * found.kept * given]
    if rare:
        said.append(f"These labels lose most of their answers: {', '.join(rare)}. Look at them before you filter.")
    odd = [name for name in found.per_label if not is_config_key(name)]
    if odd:
        said.append(f"A config cannot name {', '.join(map(repr, odd))}: the common threshold holds for them.")
    return said


def calibrate_files(
    gold_file: Path,
    output_dir: Path,
    annotations: Sequence[Path],
    *,
    task: TaskName | None = None,
    fields: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Recommendation:
    """Compare the confidences of annotated files; write `calibration.json` and `risk_coverage.svg`.

    gold_file (Path): See `read_texts`.
    annotations (Sequence[Path]): The gold file, annotated: a DocBin for each kind of confidence.
    fields (Optional[Mapping[str, str]]): Field names for `read_texts`.
    RETURNS (Recommendation): What was written.
    """
    read = {path: read_annotations(path, Vocab(), task) for path in annotations}
    first = next(iter(read.values()))[0]
    for path, found in read.items():
        if (found[0].task, found[0].exclusive) != (first.task, first.exclusive):
            raise InputError(f"{path} is of another task than {annotations[0]}. Compare kinds on the same task.")
    texts = read_texts(gold_file, need_gold=True, **(fields or {}))
    gold = gold_annotations(texts, first.task, exclusive=first.exclusive)
    if not gold:
        raise StageError(f"{gold_file} has no texts.")
    wanted = {record.id for record in gold}
    named = {}
    for path, found in read.items():
        check_label_names(gold, label_set(found), "teacher")
        name = path.stem if sum(other.stem == path.stem for other in read) == 1 else path.as_posix()
        named[name] = [record for record in found if record.id in wanted]
        if not named[name]:
            raise InputError(f"{path} has no text of {gold_file}. Annotate the gold file itself.")
    found_best = recommend(gold, named, seed=seed)
    sources = {"gold": describe_file(gold_file), "annotations": [describe_file(path) for path in annotations]}
    write_json(output_dir / FIGURES, {**_plain(asdict(found_best)), "sources": sources, "seed": seed})
    write_curves(output_dir / CURVES, found_best.kinds)
    return found_best


def _plain(value: Any) -> Any:
    """RETURNS (Any): With floats rounded to six digits, for JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return round(value, 6) if isinstance(value, (float, np.floating)) else value
