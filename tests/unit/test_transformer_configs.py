"""`spacy train` accepts the configs of the transformer tier, and what it writes is released as stock spaCy."""

import json
from pathlib import Path

import pytest
import small_encoder
import small_models as small
import spacy
from spacy.cli.train import train
from spacy.tokens import DocBin
from spacy.training import Example

from spacy_distill.release.freeze import freeze

pytest.importorskip("spacy_transformers", reason="needs the extra `transformer`")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a path of this machine in the config could not be released
    return small_encoder.write(tmp_path / "small").relative_to(tmp_path)


def trained(root, config, encoder, docs, labels):
    """RETURNS (Path): `model-last` after two steps."""
    DocBin(docs=docs).to_disk(root / "docs.spacy")
    (root / "labels.json").write_text(json.dumps(labels))
    overrides = {"paths.train": str(root / "docs.spacy"), "paths.dev": str(root / "docs.spacy")}
    overrides |= {"paths.labels": str(root / "labels.json"), "paths.encoder": str(encoder)}
    overrides |= {"training.max_steps": 2, "training.eval_frequency": 1}
    train(CONFIGS / config, root / "out", overrides=overrides)
    return root / "out" / "model-last"


def test_text_classification(tmp_path, encoder):
    nlp = spacy.blank("en")
    docs = [nlp.make_doc(text) for text, _ in small.CATS]
    for doc, (_, label) in zip(docs, small.CATS, strict=True):
        doc.cats = {name: float(name == label) for name in ("complaint", "praise")}
    path = trained(tmp_path, "textcat_transformer.cfg", encoder, docs, ["complaint", "praise"])
    frozen = freeze(path, tmp_path / "frozen")
    assert frozen.get_pipe_meta("textcat").factory == "textcat"
    before = small.cats(spacy.load(path))
    assert all(sum(cats.values()) == pytest.approx(1.0) for cats in before)
    for cats, after in zip(before, small.cats(frozen), strict=True):
        assert after == pytest.approx(cats, abs=1e-5)


def test_entities(tmp_path, encoder):
    nlp = spacy.blank("en")
    docs = [Example.from_dict(nlp.make_doc(text), {"entities": ents}).reference for text, ents in small.ENTS]
    ner = spacy.blank("en").add_pipe("ner")
    actions = ner.moves.get_actions(entity_types=["FOOD", "TOOL"], examples=[Example(doc, doc) for doc in docs])
    ner.moves.initialize_actions(actions)
    path = trained(tmp_path, "ner_transformer.cfg", encoder, docs, ner.label_data)
    assert spacy.load(path).get_pipe("ner").labels == ("FOOD", "TOOL")
