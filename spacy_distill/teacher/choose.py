"""Choose a local teacher's prompt, its examples and its calibration on a few texts labelled by people."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from confection import Config
from spacy_llm.registry import registry

from ..errors import ConfigError, InputError, TeacherError
from ..texts import gold_annotations, is_config_key, normal_form
from ..types import Annotation, Text
from .calibration import Floats
from .examples import pick_examples
from .ledger import Ledger
from .local import CONTENT_FREE, Local
from .trials import CALIBRATIONS, RULE, CalibrationName, Scores, Trial, measure, select
from .types import Prompt

_TASK, _MODEL = "spacy_distill.TextCat.v1", "spacy_distill.Local.v1"

_OF_EXAMPLES = ("examples", "shots", "pick")
"""The task's settings that are chosen anew."""


@dataclass(frozen=True)
class Search:
    """What to try.

    candidates (Mapping[str, Mapping[str, Any]]): A name for each prompt; settings of the task that it changes.
    shots (Tuple[int, ...]): How many examples to show.
    calibrations (Tuple[CalibrationName, ...]): Which calibrations to try on every prompt.
    seed (int): Of the order of the examples.
    """

    candidates: Mapping[str, Mapping[str, Any]]
    shots: tuple[int, ...] = (0, 8, 16)
    calibrations: tuple[CalibrationName, ...] = CALIBRATIONS
    seed: int = 0

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Search:
        """Read a candidates config: an optional section `[search]` with `shots`, `calibrations` and `seed`, and a
        section `[candidates.NAME]` for each prompt. RAISES (ConfigError): It says something else."""
        unknown = sorted(set(config) - {"search", "candidates"})
        search = dict(config.get("search", {}))
        unknown += sorted(set(search) - {"shots", "calibrations", "seed"})
        if unknown:
            raise ConfigError(
                f"Unknown in the candidates config: {', '.join(unknown)}. Expected [search] with shots, calibrations"
                " and seed, and a [candidates.NAME] for each prompt."
            )
        candidates = config.get("candidates") or {"config": {}}
        if "$" in repr(candidates):
            raise ConfigError("A candidate contains a $, which a config reads as a variable. Write it without.")
        found = cls(candidates, **{name: _plain(value) for name, value in search.items()})
        for name, settings in found.candidates.items():
            if not isinstance(settings, Mapping):
                raise ConfigError(f"The candidate {name!r} is no section: write [candidates.{name}] and its settings.")
        for name in ("shots", "calibrations"):
            if not isinstance(getattr(found, name), tuple):
                raise ConfigError(f"{name} = {getattr(found, name)!r}: expected a list.")
        if not found.shots or any(not isinstance(count, int) or count < 0 for count in found.shots):
            raise ConfigError(f"shots = {list(found.shots)}: expected a list of numbers, 0 or more.")
        for name in found.calibrations:
            if name not in CALIBRATIONS:
                raise ConfigError(f"Unknown calibration {name!r}. Known: {', '.join(CALIBRATIONS)}.")
        if not found.calibrations:
            raise ConfigError("calibrations is empty: name at least one.")
        return found

    def prompts(self, texts: int) -> int:
        """RETURNS (int): How many prompts there will be for so many texts (about: examples are not scored)."""
        return len(self.candidates) * len(self.shots) * (texts - max(self.shots) + len(CONTENT_FREE))


@dataclass(frozen=True)
class Choice:
    """What was tried, and what won.

    trials (Tuple[Trial, ...]): Everything measured, in the order it was tried.
    best (Trial): The winner.
    skipped (Mapping[str, str]): Prompts that could not be tried, and why.
    config (Config): The teacher's config with the winner in it, ready for `annotate`.
    model (str): The model's name.
    held_out (Tuple[str, ...]): Ids of the gold texts on which nothing was measured: examples, and their groups.
    """

    trials: tuple[Trial, ...]
    best: Trial
    skipped: Mapping[str, str]
    config: Config
    model: str
    held_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): Every figure, for JSON."""
        return {
            "model": self.model,
            "rule": RULE,
            "chosen": self.best.to_dict(),
            "trials": [trial.to_dict() for trial in self.trials],
            "skipped": dict(self.skipped),
            "held_out": list(self.held_out),
        }


def choose(
    config: Config,
    search: Search,
    gold: Sequence[Text],
    *,
    unlabelled: Sequence[Text] = (),
    ledger: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Choice:
    """Try every candidate with every number of examples, once, and every calibration on the same raw scores.

    Examples come from the gold texts. As many as the longest prompt shows are held out for all prompts, with all texts
    of their groups and all copies of them, so that every row is measured on the same texts and none on a text it was
    shown, or on one that belongs with it.

    config (Config): A teacher's config with one `TextCat.v1` task and one `Local.v1` model, not interpolated.
    search (Search): What to try.
    gold (Sequence[Text]): Texts labelled by people; a hundred is a beginning, three hundred are better.
    unlabelled (Sequence[Text]): Texts that the batch and prior calibrations learn from. None: the gold texts, without
        looking at their labels.
    ledger (Optional[Path]): Where replies are kept, unless the config says so itself.
    progress (Optional[Callable[[int], None]]): Called with 1 for every prompt answered.
    RETURNS (Choice): All measurements, the winner, and the config it makes.
    RAISES (ConfigError, InputError, TeacherError): A config that cannot work; too few gold texts; no prompt worked.
    """
    name, component = _component(config.interpolate())
    settings = {key: value for key, value in component["task"].items() if key not in _OF_EXAMPLES}
    model = _resolve("model", _with_calibration(component["model"], "none", None, 1.0))
    if model.ledger is None and ledger is not None:
        model.ledger = Ledger(ledger)
    labels = _resolve("task", settings).labels
    _check_labels(labels, search)
    annotations = gold_annotations(gold, "textcat", labels=labels)
    shown, scored = _split(annotations, max(search.shots))
    if len(scored) < 20:
        raise InputError(
            f"{len(scored)} gold texts are left to measure on, without the {len(shown)} examples and their groups; at"
            " least 20 are needed, 300 are better."
        )

    trials: list[Trial] = []
    skipped: dict[str, str] = {}
    for candidate, changes in search.candidates.items():
        for shots in sorted(set(search.shots)):
            where = f"{candidate}, {shots} shots"
            if shots > len(shown):
                skipped[where] = f"there are {len(shown)} usable examples"
                continue
            asked = {**settings, **changes, **_examples(shown, shots, search.seed)}
            task = _resolve("task", asked, where)
            try:
                scores = _score(model, task, scored, unlabelled, (candidate, shots), progress or (lambda _: None))
            except TeacherError as error:  # most likely a prompt that is too long; others may do
                skipped[where] = str(error)
                continue
            truth = [scores.labels.index(annotation.label or "") for annotation in scored]
            trials += measure(scores, truth, search.calibrations)
    if not trials:
        where, reason = next(iter(skipped.items()))
        raise TeacherError(f"No prompt could be tried. The first, {where}: {reason}")
    best = select(trials)
    measured = {annotation.id for annotation in scored}
    winner = {**search.candidates[best.candidate], **_examples(shown, best.shots, search.seed)}
    return Choice(
        trials=tuple(trials),
        best=best,
        skipped=skipped,
        config=_chosen(config, name, winner, best),
        model=model.name,
        held_out=tuple(annotation.id for annotation in annotations if annotation.id not in measured),
    )


def _split(annotations: Sequence[Annotation], shots: int) -> tuple[list[Annotation], list[Annotation]]:
    """RETURNS (Tuple[List[Annotation], List[Annotation]]): Examples, and what may be measured beside them. Texts with a
    "$" are no examples: in a config it would be read as a variable."""
    pool = [annotation for annotation in annotations if "$" not in annotation.text]
    picked = pick_examples([each.text for each in pool], [each.label or "" for each in pool], shots)
    shown = [pool[index] for index in picked]
    forms = {normal_form(annotation.text) for annotation in shown}
    groups = {annotation.group for annotation in shown} - {None}
    scored = [
        annotation
        for annotation in annotations
        if normal_form(annotation.text) not in forms and annotation.group not in groups
    ]
    return shown, scored


def _score(
    model: Local,
    task: Any,
    scored: Sequence[Annotation],
    unlabelled: Sequence[Text],
    identity: tuple[str, int],
    progress: Callable[[int], None],
) -> Scores:
    """RETURNS (Scores): One prompt's raw scores of all texts."""
    frame: Prompt = task.prompt("")
    if not frame.choices:
        raise ConfigError("Only exclusive classes can be chosen for: set exclusive = true in the task.")
    content_free = model.content_free(frame)
    progress(len(CONTENT_FREE))
    texts = [*(annotation.text for annotation in scored), *(text.text for text in unlabelled)]
    asked = [task.prompt(text) for text in texts]
    rows: dict[int, list[float]] = {}
    seconds = 0.0
    for index, reply in model.stream(asked):
        choices = reply.meta.choices or {}
        rows[index] = [choices[label] for label in frame.choices]
        seconds += reply.meta.latency_s or 0.0
        progress(1)
    logprobs: Floats = np.array([rows[index] for index in range(len(asked))])
    return Scores(
        candidate=identity[0],
        shots=identity[1],
        labels=tuple(frame.choices),
        logprobs=logprobs[: len(scored)],
        content_free=content_free,
        unlabelled=logprobs[len(scored) :] if unlabelled else logprobs,
        texts_per_s=round(len(asked) / seconds, 2) if seconds else 0.0,
    )


def _component(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """RETURNS (Tuple[str, Mapping[str, Any]]): Name and settings of the one component that can be chosen for."""
    components = config.get("components", {})
    found = {
        name: settings
        for name, settings in components.items()
        if settings.get("task", {}).get("@llm_tasks") == _TASK
        and settings.get("model", {}).get("@llm_models") == _MODEL
    }
    if len(found) != 1:
        raise ConfigError(
            f"Expected one component with the task {_TASK} and the model {_MODEL}, found {len(found)} among"
            f" {', '.join(components) or 'none'}. Only local models give the probability of every label."
        )
    return next(iter(found.items()))


def _resolve(kind: str, settings: Mapping[str, Any], where: str = "The teacher's config") -> Any:
    try:
        return registry.resolve({kind: dict(settings)})[kind]
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except ValueError as error:  # confection's own, with the setting's name in it
        raise ConfigError(f"{where} does not make a {kind}. {error}") from error


def _check_labels(labels: Sequence[str], search: Search) -> None:
    if set(search.calibrations) <= {"none", "content_free"}:
        return
    for label in labels:
        if not is_config_key(label):
            raise ConfigError(
                f"A bias for {label!r} cannot be written in a spaCy config. Rename the label (and say it in the prompt"
                ' with the task\'s `words`), or set calibrations = ["none", "content_free"].'
            )


def _examples(shown: Sequence[Annotation], shots: int, seed: int) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): The task's setting for so many examples, in a random order; none for no examples."""
    if not shots:
        return {}
    chosen = list(shown[:shots])
    random.Random(seed).shuffle(chosen)
    return {"examples": [{"text": annotation.text, "label": annotation.label} for annotation in chosen]}


def _with_calibration(
    model: Mapping[str, Any], calibration: str, bias: Mapping[str, float] | None, temperature: float
) -> dict[str, Any]:
    settings = {name: value for name, value in model.items() if name != "bias"}
    settings |= {"calibration": calibration, "temperature": temperature}
    return settings if bias is None else {**settings, "bias": dict(bias)}


def _chosen(config: Config, name: str, changes: Mapping[str, Any], best: Trial) -> Config:
    """RETURNS (Config): The config with the winner in it; everything else as it was."""
    chosen = config.copy()
    component = chosen["components"][name]
    component["task"] = {**{k: v for k, v in component["task"].items() if k not in _OF_EXAMPLES}, **changes}
    fixed = best.calibration not in ("none", "content_free")
    component["model"] = _with_calibration(
        component["model"], "fixed" if fixed else best.calibration, best.bias if fixed else None, best.temperature
    )
    return chosen


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value
