"""Run the rules in order, and close the books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from confection import ConfigValidationError
from spacy.util import load_config, registry

from ..errors import ConfigError, InputError
from ..types import Annotation, Rejection
from .types import Books, Context, Curation, Rule, RuleBook, label_counts


def load_rules(path: Path) -> dict[str, Rule]:
    """Read a curation config: `[curation] rules` names the rules in their order, `[rules.NAME]` says what each is.

    RETURNS (Dict[str, Rule]): In that order. Sections that the list does not name are left alone.
    RAISES (ConfigError): No such file, a rule without a section, an unknown function, or an argument it refuses.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist. `spacy-distill init` writes a curation config to start from.")
    try:
        config = load_config(path, interpolate=True)
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read as a config: {error}") from error
    names = config.get("curation", {}).get("rules")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path}: [curation] needs `rules`, a list of names. Found: {names!r}.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"{path}: [curation] rules names {', '.join(map(repr, twice))} more than once.")
    found: dict[str, Rule] = {}
    for name in names:
        section = config.get("rules", {}).get(name)
        if not isinstance(section, dict) or "@misc" not in section:
            raise ConfigError(f'{path}: the rule {name!r} has no section [rules.{name}] with `@misc = "…"`.')
        if not registry.has("misc", section["@misc"]):
            raise ConfigError(
                f"{path}: [rules.{name}] names the function {section['@misc']!r}, which is not registered."
                " Is its file missing in --code?"
            )
        try:
            found[name] = registry.resolve({"rule": section})["rule"]
        except ConfigValidationError as error:
            raise ConfigError(f"{path}: [rules.{name}] has an argument its function refuses.{error}") from error
    return found


def curate(annotations: Sequence[Annotation], rules: Mapping[str, Rule], context: Context) -> Curation:
    """Put annotations through rules, each given what the one before kept.

    annotations (Sequence[Annotation]): Of one task, with one list of labels, ids unique.
    rules (Mapping[str, Rule]): By name, in order.
    RETURNS (Curation): Every annotation is in `kept` (in the order given) or in `rejected`, once.
    RAISES (InputError): An id that occurs twice, or labels that differ between records.
    RAISES (ConfigError): A rule that changes, adds or loses an annotation.
    """
    _check(annotations)
    remaining = list(annotations)
    rejected: list[Rejection] = []
    books: list[RuleBook] = []
    for name, rule in rules.items():
        result = rule(list(remaining), context)
        returned = sorted(map(id, [*result.kept, *(annotation for annotation, _ in result.dropped)]))
        if returned != sorted(map(id, remaining)):
            raise ConfigError(
                f"The rule {name!r} was given {len(remaining)} annotations and returned {len(result.kept)} kept and"
                f" {len(result.dropped)} dropped. A rule must return each annotation it is given, unchanged, once."
            )
        rejected.extend(Rejection(annotation, name, reason) for annotation, reason in result.dropped)
        books.append(RuleBook(name, len(remaining), len(result.kept), len(result.dropped), dict(result.notes)))
        kept = set(map(id, result.kept))
        remaining = [annotation for annotation in remaining if id(annotation) in kept]
    return Curation(remaining, rejected, Books(tuple(books), label_counts(annotations), label_counts(remaining)))


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
