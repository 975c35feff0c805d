"""What a rule returned is held against what it was given: nothing lost, and each corrected copy one that can be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from numbers import Real

from ..errors import ConfigError
from ..types import Annotation
from .types import Correction, RuleResult


def corrections_of(name: str, given: Sequence[Annotation], result: RuleResult) -> list[Correction]:
    """Find the copies among what a rule kept.

    name (str): The rule's name in the config.
    RAISES (ConfigError): The rule returned no `RuleResult`, added or lost an annotation, changed what a person checked
        or more than it may, or a copy has labels, scores or spans that cannot be.
    """
    if not isinstance(result, RuleResult):
        raise ConfigError(f"The rule {name!r} returned {type(result).__name__}; expected a RuleResult.")
    listed = [*result.dropped, *result.review]
    pairs = all(isinstance(each, tuple) and len(each) == 2 for each in listed)
    if not pairs or not all(isinstance(each, Annotation) for each in [*result.kept, *(item for item, _ in listed)]):
        raise ConfigError(
            f"The rule {name!r} returned something else than annotations, or one dropped or to review without a reason."
        )
    before = {annotation.id: annotation for annotation in given}
    returned = sorted(annotation.id for annotation in [*result.kept, *(dropped for dropped, _ in result.dropped)])
    if returned != sorted(before):
        raise ConfigError(
            f"The rule {name!r} was given {len(given)} annotations and returned {len(result.kept)} kept and"
            f" {len(result.dropped)} dropped. A rule must return each annotation it is given, or a corrected copy of"
            " it, once."
        )
    other = next((annotation.id for annotation, _ in listed if annotation != before.get(annotation.id)), None)
    if other is not None:
        raise ConfigError(f"The rule {name!r} dropped record {other}, or gave it to review, not as it was given it.")
    corrections = [
        Correction(before[annotation.id], annotation, name)
        for annotation in result.kept
        if annotation != before[annotation.id]
    ]
    for correction in corrections:
        if correction.before.gold:
            raise ConfigError(f"The rule {name!r} changed record {correction.before.id}, which a person checked.")
        if _unsaid(correction.before) != _unsaid(correction.after):
            raise ConfigError(
                f"The rule {name!r} returned record {correction.before.id} with more changed than its classes or"
                " entities, the tokens that are unknown, and the confidence."
            )
        fault = next(_faults(correction), None)
        if fault is not None:
            raise ConfigError(f"The rule {name!r} returned record {correction.before.id} {fault}.")
    return corrections


def fingerprints(annotations: Sequence[Annotation]) -> list[int]:
    """RETURNS (List[int]): One for each annotation's scores: another one if somebody writes into them."""
    return [hash(tuple((annotation.cats or {}).items())) for annotation in annotations]


def _unsaid(annotation: Annotation) -> Annotation:
    """RETURNS (Annotation): The record without what a rule may correct."""
    return replace(annotation, cats=None, ents=None, missing=(), confidence=None, confidence_kind=None)


def _faults(correction: Correction) -> Iterator[str]:
    """YIELDS (str): What cannot be in a corrected copy: words to follow "returned record …"."""
    before, after = correction.before, correction.after
    for what, had, has in (("classes", before.cats, after.cats), ("entities", before.ents, after.ents)):
        if has is None and had is not None:
            yield f"without {what}; to leave a text out, drop it"
        if had is None and has is not None:
            yield f"with {what}, where there were none to correct"
    cats, ents = after.cats or {}, after.ents or ()
    for label in (*cats, *(span.label for span in ents)):
        if label not in after.labels:
            yield f"with the label {label!r}, which was not on offer"
    scored = [*cats.items(), *((span.label, span.score) for span in ents if span.score is not None)]
    for label, score in [*scored, *([("confidence", after.confidence)] if after.confidence is not None else [])]:
        if not isinstance(score, Real) or not 0.0 <= score <= 1.0 + 1e-6:
            yield f"giving {label} a score of {score!r}; expected a number from 0 to 1"
    if after.cats is not None and after.exclusive and not 0.95 < sum(cats.values()) < 1.05:
        yield f"with scores that add up to {sum(cats.values()):.3f} instead of 1, though its classes exclude each other"
    for span in (*ents, *after.missing):
        if not 0 <= span.start < span.end <= len(after.text):
            yield f"with a span that cannot be: {span.start}-{span.end} lies outside its text of {len(after.text)}"
    for one, other in itertools.pairwise(sorted(ents, key=lambda span: span.start)):
        if other.start < one.end:
            yield (
                f"with entities that share characters: {one.label} at {one.start}-{one.end} and {other.label} at"
                f" {other.start}-{other.end} overlap"
            )
