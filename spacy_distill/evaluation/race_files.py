"""A sweep's files. In: a corpus. Out: `sweep.json`, `sweep.svg` (score against speed, with the Pareto front), and the
winner's pipeline."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from spacy.vocab import Vocab

from ..corpus.build import DEV, TRAIN
from ..corpus.manifest import MANIFEST, Manifest
from ..docs import missing_of, read_docs
from ..files import describe_file, shown_path, write_json, write_text
from ..types import Annotation, Span
from .evaluate import versions
from .race import Candidate, front
from .report import figure
from .verdict import METRIC_NAMES, points

FIGURES, PICTURE, WINNER = "sweep.json", "sweep.svg", "model-best"
_WIDTH, _LEFT, _RIGHT, _TOP, _PLOT, _BELOW, _ROW = 760, 58, 40, 50, 320, 62, 24


def read_corpus(corpus: Path) -> tuple[list[Annotation], list[str]]:
    """Read what `spacy-distill corpus` wrote.

    RETURNS (Tuple[List[Annotation], List[str]]): The records of dev, and the texts of train.
    RAISES (StageError, InputError): There is no corpus, or it is not one.
    """
    manifest = Manifest.read(corpus / MANIFEST)
    textcat = manifest.task == "textcat"
    vocab = Vocab()
    groups = dict(enumerate(map(str, manifest.dev_groups)))
    records = [
        Annotation(
            id=str(number),
            text=doc.text,
            task=manifest.task,
            labels=tuple(manifest.labels),
            status="ok",
            exclusive=manifest.exclusive,
            cats=dict(doc.cats) if textcat else None,
            ents=None if textcat else tuple(Span(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents),
            missing=() if textcat else missing_of(doc),
            group=groups.get(number),
        )
        for number, doc in enumerate(read_docs(corpus / DEV, vocab))
    ]
    return records, [doc.text for doc in read_docs(corpus / TRAIN, vocab)]


def write(
    output_dir: Path, candidates: Sequence[Candidate], chosen: Candidate, model: Path, why: str, corpus: Sequence[Path]
) -> None:
    """Write the figures and the picture, and put the chosen pipeline at `output_dir / WINNER`.

    model (Path): The chosen tier's pipeline.
    why (str): In words, what it was chosen for.
    corpus (Sequence[Path]): The files it was all learned from.
    """
    on_front = {one.tier for one in front(candidates)}
    tiers = [
        {
            **asdict(one),
            "best": {"seed": one.best.seed, "model": shown_path(one.best.model)},
            "on_front": one.tier in on_front,
        }
        for one in candidates
    ]
    facts: dict[str, Any] = {
        "chosen": chosen.tier, "why": why, "model": shown_path(model), "tiers": tiers, "versions": versions(),
    }  # fmt: skip
    write_json(output_dir / FIGURES, {**facts, "corpus": [describe_file(path) for path in corpus]})
    write_text(output_dir / PICTURE, draw(candidates, chosen, why))
    winner = output_dir / WINNER
    part = output_dir / f"{WINNER}.part"
    for path in (part, winner):
        if path.exists():
            shutil.rmtree(path)
    shutil.copytree(model, part)
    part.rename(winner)


def draw(candidates: Sequence[Candidate], chosen: Candidate, why: str) -> str:
    """RETURNS (str): The picture, one SVG that needs nothing else. Every name is escaped."""
    speeds = [one.words_per_s_fresh for one in candidates]
    low, high = math.floor(2 * math.log10(min(speeds) * 0.9)) / 2, math.ceil(2 * math.log10(max(speeds) * 1.1)) / 2
    intervals = [one.scores[one.main] for one in candidates]
    floor, ceiling = min(item.low for item in intervals), max(item.high for item in intervals)
    step = next(size for size in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if (ceiling - floor) / size <= 7 or size == 0.2)
    first, last = math.floor(floor / step), max(math.ceil(ceiling / step), math.floor(floor / step) + 1)
    bottom = _TOP + _PLOT

    def x(speed: float) -> float:
        return round(_LEFT + (math.log10(speed) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(score: float) -> float:
        return round(bottom - (score / step - first) / (last - first) * _PLOT, 1)

    rows: list[dict[str, Any]] = [
        {
            "name": one.tier,
            "x": x(one.words_per_s_fresh),
            "y": y(one.score),
            "low": y(one.scores[one.main].low),
            "high": y(one.scores[one.main].high),
            "chosen": one is chosen,
            "at": bottom + _BELOW + 20 + _ROW * i,
            "said": f"{points(one.score)} ({points(one.scores[one.main].low)}–{points(one.scores[one.main].high)}),"
            f" {figure(one.words_per_s_fresh)} words/s, {one.size_mb:.1f} MB, trained in {one.train_s:.0f} s",
        }
        for i, one in enumerate(candidates)
    ]
    decades = [m * 10**e for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 3)]
    environment = Environment(
        loader=PackageLoader("spacy_distill.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("sweep.svg.jinja").render(
        width=_WIDTH,
        height=bottom + _BELOW + 20 + _ROW * len(rows),
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        top=_TOP,
        bottom=bottom,
        metric=METRIC_NAMES[chosen.main],
        why=why,
        rows=rows,
        front=" ".join(f"{x(one.words_per_s_fresh)},{y(one.score)}" for one in front(candidates)),
        x_ticks=[(x(speed), figure(speed)) for speed in decades if low <= math.log10(speed) <= high],
        y_ticks=[(y(i * step), points(i * step).removesuffix(".0")) for i in range(first, last + 1)],
    )
