"""The tuned entity student: windows, tags, entities, learning from words, `spacy train`, the release."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import small_encoder
import small_models as small
import spacy
from spacy.cli.train import train
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.util import load_config, load_model_from_config

from spacy_distill.errors import ConfigError, InputError
from spacy_distill.release.freeze import freeze
from spacy_distill.release.verify import verify
from spacy_distill.students import encoder as encoder_module
from spacy_distill.students.encoder_files import read_encoder
from spacy_distill.students.runtime.frozen_encoder import (
    LONGEST,
    MOST_PIECES,
    OVERLAP,
    FrozenEncoderNER,
    entities,
    likeliest,
)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LABELS = ["FOOD", "TOOL"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_encoder.write(tmp_path_factory.mktemp("encoder") / "small")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["hinge"],
        ["the", "hinge"] * 200,
        ["y" * 101, "\x00", "\u200b", "😀"],
        ["abcdefghijkl" * 3] * 300,
        ["the"] * 250 + ["abcdefghijkl"] * 300 + ["the"] * 400,
    ],
)
def test_windows_decide_on_each_word_once(folder, words):
    pieces = read_encoder(str(folder)).pieces
    decided = []
    windows = list(pieces.windows(words))
    for window in windows:
        assert window.first == len(decided)
        assert 3 <= len(window.ids) <= LONGEST
        ends = [*window.places[1:], len(window.ids) - 1]
        for word, start, end in zip(words[window.first :], window.places, ends, strict=False):
            alone = pieces(word)[1:-1][:MOST_PIECES] or [pieces.pieces.index("[UNK]")]
            assert window.ids[start : start + len(alone)] == alone
            assert end > start
        decided += window.places
    assert len(decided) == len(words)
    for before, after in itertools.pairwise(windows):
        read_before = before.places[-1] < len(before.ids) - 1 - OVERLAP // 2  # words follow that it leaves to the next
        assert read_before
        assert after.places[0] > OVERLAP // 2  # and the next reads words that it does not decide on


def all_paths(logits):
    """RETURNS (List[int]): The best of all the allowed ways to tag, tried one by one."""
    ways = itertools.product(range(logits.shape[1]), repeat=len(logits))
    allowed = [
        way
        for way in ways
        if all(tag % 2 or not tag or before in (tag - 1, tag) for before, tag in zip((0, *way), way, strict=False))
    ]
    return list(max(allowed, key=lambda way: sum(row[tag] for row, tag in zip(logits, way, strict=True))))


def test_the_likeliest_tags_are_the_best_of_all_that_are_allowed():
    random = np.random.default_rng(0)
    for _ in range(50):
        logits = random.normal(size=(5, 5)).astype(np.float32)
        logits[:, 2::2] += 1  # being inside is likely: much of this would be out of place
        assert likeliest(logits) == all_paths(logits)
    assert likeliest(np.zeros((0, 5), np.float32)) == []
    assert likeliest(np.eye(5, dtype=np.float32)[[2, 4, 2]] * 9)[0] in (0, 1, 3)


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ([], []),
        ([0, 0], []),
        ([1], [(0, 1, 0)]),
        ([1, 2, 0, 3], [(0, 2, 0), (3, 4, 1)]),
        ([3, 1, 1, 2], [(0, 1, 1), (1, 2, 0), (2, 4, 0)]),
        ([0, 3, 4, 4], [(1, 4, 1)]),
    ],
)
def test_entities_of_tags(tags, found):
    assert list(entities(tags)) == found


def component(folder, vocab=None):
    """RETURNS (FrozenEncoderNER): One that takes words for entities at random."""
    random = np.random.default_rng(0)
    ner = FrozenEncoderNER(vocab or spacy.blank("en").vocab, "ner")
    encoder = read_encoder(str(folder))
    ner.set_weights(LABELS, encoder, random.normal(size=(small_encoder.WIDTH, 5)), np.array([-9.0, 0, 0, 0, 0]))
    return ner


def test_a_text_is_tagged_the_same_in_any_company(folder):
    nlp = spacy.blank("en")
    texts = ["", "  \n ", "the hinge broke", "it was the very lovely screen \n\n the hinge", "was it the hinge " * 150]
    ner = component(folder, nlp.vocab)
    docs = [nlp.make_doc(text) for text in texts]
    together = ner.predict(docs)
    assert [ner.predict([doc])[0] for doc in docs] == together
    assert together[:2] == [[], []]
    for doc, found in zip(docs, together, strict=True):
        for start, end, _ in found:
            assert not doc[start].is_space
            assert not doc[end - 1].is_space
    assert len(together[4]) > 20


def test_entities_of_others_stay(folder):
    nlp = spacy.blank("en")
    ner = component(folder, nlp.vocab)
    doc = nlp.make_doc("the hinge broke")
    (found,) = ner.predict([doc])
    assert found
    before = Span(doc, found[0][0], found[0][1], "MINE")
    doc.ents = [before]
    ner.set_annotations([doc], [found])
    assert doc.ents[0].label_ == "MINE"
    assert len(doc.ents) == len(found)
    assert all(token.ent_iob for token in doc)  # nothing is unknown any more


def write_corpus(folder, entity=small.ENTS):
    nlp = spacy.blank("en")
    docs = []
    for text, found in entity:
        doc = nlp.make_doc(text)
        doc.ents = [doc.char_span(*span[:2], label=span[2]) for span in found]
        docs.append(doc)
    for name in ("train", "dev"):
        DocBin(docs=docs).to_disk(folder / f"{name}.spacy")
    return {f"paths.{name}": str(folder / f"{name}.spacy") for name in ("train", "dev")}


def learn(folder, docs, **settings):
    nlp = spacy.blank("en")
    nlp.tokenizer.infix_finditer = None
    config = {"encoder": str(folder), "tuned_layers": 2, "epochs": 30, **settings}
    ner = nlp.add_pipe("encoder_ner", name="ner", config=config)
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in docs]
    nlp.initialize(lambda: examples)
    return ner


@pytest.mark.local
def test_words_that_the_corpus_cut_otherwise_are_learned_as_the_pipeline_sees_them(folder):
    pytest.importorskip("torch")
    cut = spacy.blank("en")
    cut.tokenizer.infix_finditer = re.compile(r"(?<=x)(?=x)|-").finditer
    docs = []
    for text in ["not-awful hinge screen", "the hinge is not-awful", "awful the not-awful screen"] * 10:
        doc = cut.make_doc(text)
        at = text.index("not-awful")
        blocked = [doc[0:1]] if text.startswith("awful") else []
        doc.set_ents([doc.char_span(at, at + 9, label="THING")], blocked=blocked, default="outside")
        docs.append(doc)
    assert "not-awful" not in [token.text for doc in docs for token in doc]
    ner = learn(folder, docs)
    doc = Doc(ner.vocab, words=["the", "hinge", "is", "not-awful"])
    ner(doc)
    assert [ent.text for ent in doc.ents] == ["not-awful"]


@pytest.mark.local
def test_what_is_unknown_is_not_learned(folder):
    pytest.importorskip("torch")
    nlp = spacy.blank("en")
    docs = []
    for number in range(40):
        doc = nlp.make_doc("the hinge broke the screen" if number % 2 else "the screen broke the hinge")
        first, second = Span(doc, 1, 2, "THING"), Span(doc, 4, 5, "THING")
        # The second is marked in one text of ten, and unknown in the others.
        missing = [] if number % 10 == 0 else [second]
        doc.set_ents([first] if missing else [first, second], missing=missing, default="outside")
        docs.append(doc)
    doc = docs[1].copy()
    doc.ents = ()
    learn(folder, docs)(doc)
    assert [(ent.start, ent.end, ent.label_) for ent in doc.ents] == [(1, 2, "THING"), (4, 5, "THING")]


@pytest.mark.local
def test_spacy_train_trains_it_and_it_is_released_with_its_code(folder, tmp_path):
    pytest.importorskip("torch")
    settings = {"paths.encoder": str(folder), "components.ner.tuned_layers": 2}
    train(CONFIGS / "ner_tuned.cfg", tmp_path / "out", overrides={**write_corpus(tmp_path), **settings})
    source = tmp_path / "out" / "model-best"
    trained = spacy.load(source)
    assert trained.get_pipe("ner").labels == ("FOOD", "TOOL")
    assert trained.meta["performance"]["ents_f"] == pytest.approx(1.0)
    assert small.entities(trained) == [found for _, found in small.ENTS]
    freeze(source, tmp_path / "frozen")
    assert load_config(tmp_path / "frozen" / "config.cfg")["components"]["ner"] == {"factory": "frozen_encoder_ner"}
    assert [file.name for file in (tmp_path / "frozen").glob("*.py")] == ["frozen_encoder.py"]
    assert verify(trained, tmp_path / "frozen", [text for text, _ in small.ENTS]) > 0
    copy = load_model_from_config(trained.config)
    copy.from_bytes(trained.to_bytes())
    assert small.entities(copy) == small.entities(trained)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"tuned_layers": 3}, ConfigError, "tune 3 layers of an encoder that has 2"),
        ({"tuned_layers": 0}, ConfigError, "tune 0 layers"),
        ({"epochs": 0}, ConfigError, "in 0 epochs"),
        ({"encoder": "nowhere"}, InputError, "There is no folder nowhere"),
    ],
)
def test_what_cannot_be_tuned_is_said(folder, settings, error, said):
    doc = Doc(spacy.blank("en").vocab, ["the", "hinge"])
    doc.ents = [Span(doc, 1, 2, "THING")]
    with pytest.raises(error, match=said):
        learn(folder, [doc], **settings)


def test_without_torch_or_entities(folder, monkeypatch):
    doc = Doc(spacy.blank("en").vocab, ["the", "hinge"])
    with pytest.raises(InputError, match="'ner' has 1 texts without an entity to learn from"):
        learn(folder, [doc])
    doc.ents = [Span(doc, 1, 2, "THING")]
    monkeypatch.setattr(encoder_module, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"takes torch: pip install 'spacy-distill\[local\]'\.$"):
        learn(folder, [doc])
