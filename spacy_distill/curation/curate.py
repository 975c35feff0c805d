"""Run the rules in order, and close the books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from confection import ConfigValidationError
from spacy.util import load_config, registry

from ..errors import ConfigError, InputError
from ..types import Annotation, Rejection
from .corrections import corrections_of, fingerprints
from .types import Books, Context, Correction, Curation, Doubt, Rule, RuleBook, in_one_order, label_counts


def load_rules(path: Path) -> dict[str, Rule]:
    """Read a curation config and make its rules: see `make_rules`.

    RAISES (ConfigError): No such file, or what `make_rules` refuses.
    """
    return make_rules(read_rules(path), path.as_posix())


def read_rules(path: Path) -> dict[str, Any]:
    """Read a curation config: `[curation] rules` names the rules in their order, `[rules.NAME]` says what each is.

    RETURNS (Dict[str, Any]): The config's sections as they are, nothing made of them yet.
    RAISES (ConfigError): No such file, or not a config.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist. `spacy-distill init` writes a curation config to start from.")
    try:
        return dict(load_config(path, interpolate=True))
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read as a config: {error}") from error


def make_rules(config: Mapping[str, Any], where: str) -> dict[str, Rule]:
    """Make the rules that a curation config lists.

    where (str): The config's name, for messages.
    RETURNS (Dict[str, Rule]): In the list's order. Sections that the list does not name are left alone.
    RAISES (ConfigError): A rule without a section, an unknown function, an argument it refuses, or a function that
        makes no rule.
    """
    names = config.get("curation", {}).get("rules")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{where}: [curation] needs `rules`, a list of names. Found: {names!r}.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"{where}: [curation] rules names {', '.join(map(repr, twice))} more than once.")
    found: dict[str, Rule] = {}
    for name in names:
        section = config.get("rules", {}).get(name)
        if not isinstance(section, dict) or "@misc" not in section:
            raise ConfigError(f'{where}: the rule {name!r} has no section [rules.{name}] with `@misc = "…"`.')
        if not registry.has("misc", section["@misc"]):
            raise ConfigError(
                f"{where}: [rules.{name}] names the function {section['@misc']!r}, which is not registered."
                " Is its file missing in --code?"
            )
        try:
            found[name] = registry.resolve({"rule": section})["rule"]
        except ConfigValidationError as error:
            raise ConfigError(f"{where}: [rules.{name}] has an argument its function refuses.{error}") from error
        if not callable(found[name]):
            raise ConfigError(
                f"{where}: [rules.{name}] names a function that makes no rule: {section['@misc']!r} returned"
                f" {type(found[name]).__name__}; expected a function of the annotations and the context."
            )
    return found


def curate(annotations: Sequence[Annotation], rules: Mapping[str, Rule], context: Context) -> Curation:
    """Put annotations through rules, each given what the one before kept.

    annotations (Sequence[Annotation]): Of one task, with one list of labels, ids unique.
    rules (Mapping[str, Rule]): By name, in order.
    RETURNS (Curation): Every annotation is in `kept` (in the order given) or in `rejected`, once.
    RAISES (InputError): An id that occurs twice, or labels that differ between records.
    RAISES (ConfigError): A rule that changes an annotation in place, or returns what `corrections_of` refuses.
    """
    _check(annotations)
    labels_before = label_counts(annotations)
    remaining = in_one_order(annotations, annotations[0].labels) if annotations else []
    corrected: list[Correction] = []
    rejected: list[Rejection] = []
    review: list[Doubt] = []
    books: list[RuleBook] = []
    for name, rule in rules.items():
        scores = fingerprints(remaining)
        result = rule(list(remaining), context)
        for annotation, was, now in zip(remaining, scores, fingerprints(remaining), strict=True):
            if was != now:
                raise ConfigError(
                    f"The rule {name!r} changed the scores of record {annotation.id} in place. Return a corrected copy"
                    " instead: dataclasses.replace(annotation, cats=…)."
                )
        corrections = corrections_of(name, remaining, result)
        corrected.extend(corrections)
        rejected.extend(Rejection(annotation, name, reason) for annotation, reason in result.dropped)
        review.extend(Doubt(annotation, name, reason) for annotation, reason in result.review)
        counts = len(remaining), len(result.kept), len(corrections), len(result.dropped), len(result.review)
        books.append(RuleBook(name, *counts, dict(result.notes)))
        kept = {annotation.id: annotation for annotation in result.kept}
        remaining = [kept[annotation.id] for annotation in remaining if annotation.id in kept]
    left = {annotation.id for annotation in remaining}
    review = [doubt for doubt in review if doubt.annotation.id in left]
    asked = Counter(doubt.rule for doubt in review)
    books = [replace(book, review=asked[book.rule]) for book in books]
    return Curation(remaining, corrected, rejected, review, Books(tuple(books), labels_before, label_counts(remaining)))


def _check(annotations: Sequence[Annotation]) -> None:
    seen: set[str] = set()
    for annotation in annotations:
        if annotation.id in seen:
            raise InputError(f"The id {annotation.id!r} occurs twice in the annotations. Ids must be unique.")
        seen.add(annotation.id)
        first = annotations[0]
        if set(annotation.labels) != set(first.labels):
            differing = sorted(set(annotation.labels) ^ set(first.labels))
            raise InputError(
                f"Records {first.id} and {annotation.id} were annotated with different labels"
                f" ({', '.join(map(repr, differing[:5]))}). Annotate both with one list."
            )
