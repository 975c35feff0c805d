"""A class name is the same to the letter from the first file to the last, and nobody overwrites what people checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import spacy

from spacy_distill.cli.corpus import corpus
from spacy_distill.cli.curate import curate
from spacy_distill.cli.import_ import import_
from spacy_distill.docs import annotate_doc, make_doc, read_annotations, read_docs, write_docs
from spacy_distill.errors import ConfigError, InputError
from spacy_distill.types import Annotation, Text

RULES = Path(__file__).resolve().parents[2] / "configs" / "curation.cfg"
LABELS = ["Billing, refunds", "Café", "two  words", 'a "quoted" one', "#1: [x]=y", "ΣΊΣΥΦΟΣ"]
NOUNS = ("lamp", "kettle", "ladder", "violin", "carpet", "bucket", "saddle", "mirror", "anchor", "pillow")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [
        {"text": f"{noun} {place} no. {number}{number}", "label": label}
        for number, label in enumerate(LABELS)
        for noun, place in zip(NOUNS, reversed(NOUNS), strict=True)
    ]
    write(tmp_path / "labels.jsonl", *rows)
    return tmp_path


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    return path


def test_any_name_comes_through_unchanged(folder: Path) -> None:
    import_(Path("labels.jsonl"), Path("pool.spacy"), label=LABELS)
    gold = write(folder / "gold.jsonl", *({"text": f"gold for {label}", "gold": label} for label in LABELS))
    curate(Path("pool.spacy"), Path("curated"), config=RULES, gold=[gold])
    corpus(Path("curated"), Path("corpus"), gold_dev=gold)
    assert json.loads(Path("corpus/labels.json").read_text(encoding="utf8")) == LABELS
    for part in ("train", "dev"):
        docs = list(read_docs(Path(f"corpus/{part}.spacy"), spacy.blank("en").vocab))
        assert {label for doc in docs for label, value in doc.cats.items() if value == 1.0} == set(LABELS)


def test_corpus_names_the_field_that_gold_lacks(folder: Path) -> None:
    import_(Path("labels.jsonl"), Path("pool.spacy"), label=LABELS)
    curate(Path("pool.spacy"), Path("curated"), config=RULES)
    gold = write(folder / "gold.jsonl", {"text": "gold", "label": LABELS[0]})
    with pytest.raises(InputError, match=r"gold\.jsonl:1 has no field 'gold' \(it has: 'text', 'label'\)"):
        corpus(Path("curated"), Path("corpus"), gold_dev=gold)


@pytest.mark.parametrize(
    ("label", "twin"),
    [
        ("Café", "café"),
        ("Café", "Cafe\u0301"),
        ("two  words", "two words"),
        ("Café", " Café"),
        ("Billing, refunds", "Billing,refunds"),
    ],
)
@pytest.mark.parametrize("form", [lambda label: label, lambda label: [label], lambda label: [[0, 4, label]]])
def test_gold_spelt_otherwise_is_refused_by_its_line(folder: Path, label: str, twin: str, form) -> None:
    import_(Path("labels.jsonl"), Path("pool.spacy"), label=LABELS)
    rows = [{"text": "other", "gold": form("unheard of")}, {"text": "gold", "gold": form(twin)}]
    gold = write(folder / "gold.jsonl", *rows)
    with pytest.raises(InputError, match=r"gold\.jsonl:2.*Spell them the same way") as found:
        curate(Path("pool.spacy"), Path("curated"), config=RULES, gold=[gold])
    shown = ascii if twin == "Cafe\u0301" else repr
    assert shown(twin) in str(found.value)
    assert shown(label) in str(found.value)
    assert not Path("curated").exists()


def test_gold_for_dev_spelt_otherwise_is_refused_too(folder: Path) -> None:
    import_(Path("labels.jsonl"), Path("pool.spacy"), label=LABELS)
    curate(Path("pool.spacy"), Path("curated"), config=RULES)
    gold = write(folder / "gold.jsonl", {"text": "gold", "gold": "CAFÉ"})
    with pytest.raises(InputError, match="Did you mean 'Café'"):
        corpus(Path("curated"), Path("corpus"), gold_dev=gold)


def test_labels_that_differ_in_form_alone_do_not_become_two_classes(folder: Path) -> None:
    rows = write(folder / "two.jsonl", {"text": "a", "label": "Spam"}, {"text": "b", "label": "spam"})
    with pytest.raises(ConfigError, match="differ in case"):
        import_(rows, Path("two.spacy"))


def test_what_a_person_checked_stays_whatever_teachers_say(folder: Path) -> None:
    nlp = spacy.blank("en")

    def said(name: str, text: str, label: str, gold: bool = False) -> Annotation:
        cats = {other: float(other == label) for other in ("a", "b")}
        confidence = 0.1 if gold else 1.0
        return Annotation(
            name, text, "textcat", ("a", "b"), "ok", cats=cats, confidence=confidence,
            confidence_kind="votes", gold=gold,
        )  # fmt: skip

    records = []
    for noun in NOUNS:
        text = f"put the {noun} back where you found it before anybody comes home, please"
        records += [said(f"{noun}-{n}", text + "!" * n, "b") for n in range(3)] + [said(noun, text, "a", True)]
    write_docs(Path("pool.spacy"), (annotate_doc(make_doc(nlp, Text(r.id, r.text)), r) for r in records))
    every = RULES.read_text(encoding="utf8").replace('"span_errors"]', '"span_errors", "min_confidence", "balance"]')
    every = every.replace("threshold = 0.0", "threshold = 0.9").replace("threshold = 0.8", "threshold = 0.95")
    Path("all.cfg").write_text(every, encoding="utf8")
    curate(Path("pool.spacy"), Path("curated"), config=Path("all.cfg"))
    kept = read_annotations(Path("curated/kept.spacy"), nlp.vocab)
    assert [(record.id, record.label) for record in kept] == [(noun, "a") for noun in NOUNS]
