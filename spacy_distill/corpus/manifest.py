"""The facts about a corpus, kept beside it: what it was made of, how, and what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import srsly

from ..curation.types import label_counts
from ..errors import InputError, StageError
from ..files import write_json
from ..types import Annotation, TaskName

MANIFEST = "manifest.json"
UNRECORDED = "an unrecorded source"


@dataclass(frozen=True, slots=True)
class Part:
    """One side of the split.

    docs (int): Texts.
    labels (Mapping[str, int]): Texts of each class, or entities of each label; those with none too.
    gold (Optional[int]): Texts that people decided. None: nobody counted them.
    models (Mapping[str, int]): Of the others, how many each model labelled, alone or with others: see `models_of`.
    """

    docs: int
    labels: Mapping[str, int]
    gold: int | None = None
    models: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Sequence[Annotation]) -> Part:
        """RETURNS (Part): What these records are."""
        gold = sum(record.gold for record in records)
        return cls(len(records), label_counts(records), gold, models_of(records))

    def __add__(self, other: Part) -> Part:
        """RETURNS (Part): Both together."""
        labels = {
            label: self.labels.get(label, 0) + other.labels.get(label, 0) for label in {**self.labels, **other.labels}
        }
        models = dict((Counter(self.models) + Counter(other.models)).most_common())
        gold = None if self.gold is None or other.gold is None else self.gold + other.gold
        return Part(self.docs + other.docs, labels, gold, models)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a corpus was made of. Holds no time and no place, so that the same input gives the same bytes.

    task (TaskName): "textcat" or "ner".
    labels (Sequence[str]): Every label on offer, in order.
    exclusive (bool): Text classification: exactly one label a text.
    soft (bool): Whether the classes of train are probabilities. Those of dev never are.
    train (Part): What is in train, each text once: copies are counted in `repeated`.
    dev (Part): What is in dev.
    dev_from (str): "gold" if people decided all of dev, else "silver".
    dev_share (Optional[float]): The share of the curated docs asked for; None if dev was brought from elsewhere.
    seed (int): The split's seed.
    clusters (Optional[int]): Sets of texts that stay together (groups, near-duplicates); None if nothing was split.
    sources (Mapping[str, Any]): Files it was made of, with their sha256.
    curation (Optional[Sequence[Mapping[str, Any]]]): The curation's rules and counts, where they were found.
    versions (Mapping[str, str]): Of what made it.
    temperature (float): Of train's probabilities, see `build`.
    dev_groups (Sequence[int]): For each text of dev the number of its group, so that intervals draw groups; empty if
        no text has one.
    oversample (int): How many texts each label was to have in train, see `build`; 0 without over-sampling.
    repeated (Mapping[str, int]): For whose sake texts stand in train once more: a label, and the number of copies.
    """

    task: TaskName
    labels: Sequence[str]
    exclusive: bool
    soft: bool
    train: Part
    dev: Part
    dev_from: Literal["silver", "gold"]
    dev_share: float | None
    seed: int
    clusters: int | None
    sources: Mapping[str, Any]
    curation: Sequence[Mapping[str, Any]] | None
    versions: Mapping[str, str]
    temperature: float = 1.0
    dev_groups: Sequence[int] = ()
    oversample: int = 0
    repeated: Mapping[str, int] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the manifest as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """RAISES (StageError, InputError): No such file; not a manifest."""
        if not path.is_file():
            raise StageError(f"{path} does not exist. Run `spacy-distill corpus` first.")
        try:
            data = srsly.read_json(path)
            return cls(**{**data, "train": Part(**data["train"]), "dev": Part(**data["dev"])})
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(f"{path} is not a corpus manifest of this version: {error}") from error

    def check_known(self, labels: Iterable[str], path: Path) -> None:
        """Make sure that a pipeline may have learned from this corpus.

        labels (Iterable[str]): Those that the pipeline knows.
        path (Path): The manifest's, for the message.
        RAISES (StageError): Train has others.
        """
        if new := {label for label, count in self.train.labels.items() if count}.difference(labels):
            raise StageError(
                f"{path} is of a corpus with {', '.join(map(repr, sorted(new)))}, which the pipeline does not know: it"
                " learned from another one. Name that."
            )

    @property
    def unseen_labels(self) -> list[str]:
        """RETURNS (List[str]): Labels without one example in train: no student can learn them."""
        return [label for label in self.labels if not self.train.labels.get(label)]


def models_of(records: Iterable[Annotation]) -> dict[str, int]:
    """Count whose labels these are that no person decided.

    RETURNS (Dict[str, int]): Each model that provenance names (of an aggregated text: each that had a say), the most
        frequent first, and `UNRECORDED` for texts where none is named.
    """
    counts: Counter[str] = Counter()
    for record in records:
        if not record.gold:
            counts.update(sorted(_named(record.provenance) or {UNRECORDED}))
    return dict(counts.most_common())


def _named(provenance: Mapping[str, Any]) -> set[str]:
    """RETURNS (Set[str]): The models that had a say: of an aggregation those of its sources, however deep."""
    said = [_named(source) for source in provenance.get("sources", ()) if source.get("status") == "ok"]
    model = provenance.get("model")
    return set().union(*said) or ({model} if model else set())
