"""Word vectors from an encoder: the table, the words that are not in it, and a student that ships with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import spacy
from spacy.tokens import Doc, DocBin
from tiny_model import save_model
from typer.testing import CliRunner

from spacy_distill.cli import app
from spacy_distill.errors import ConfigError, InputError
from spacy_distill.release.freeze import freeze
from spacy_distill.students.vectors import encode_words, load_encoder, reduce

pytestmark = pytest.mark.local
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
WORDS = ["tea", "green", "bag", "a", "fresh", "dusty", "unfathomable", "naïve", "😀", "x" * 400]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("encoder"), bos=True)


def test_a_word_is_encoded_alike_in_any_batch(encoder: Path) -> None:
    loaded = load_encoder(str(encoder), threads=1)
    done: list[int] = []
    together = encode_words(WORDS, *loaded, batch_size=4, progress=done.append)
    alone = np.concatenate([encode_words([word], *loaded) for word in WORDS])
    assert sum(done) == len(WORDS)
    assert together.shape == (len(WORDS), 32)
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert len({row.tobytes() for row in together.round(3)}) == len(WORDS)


def test_reduced_vectors_keep_what_differs() -> None:
    full = np.random.default_rng(0).normal(size=(50, 12)).astype("float32")
    reduced = reduce(full, 12)
    assert np.mean(reduced**2) == pytest.approx(1.0, abs=1e-3)
    assert np.array_equal(reduced, reduced.astype("float16"))  # a wheel packs these better
    before = np.linalg.norm(full[:, None] - full[None], axis=-1)
    after = np.linalg.norm(reduced[:, None] - reduced[None], axis=-1)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.999
    with pytest.raises(ConfigError, match="width is 13"):
        reduce(full, 13)


def test_an_encoder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder(str(tmp_path))


def test_a_student_trains_with_the_table_and_ships_it(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = [f"Put the {food} in the {tool}." for food in ("rice", "leeks", "Beans") for tool in ("wok", "pot", "oven")]
    Path("texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf8")
    assert CliRunner().invoke(app, ["vectors", "nowhere/encoder", "assets/vectors", "texts.jsonl"]).exit_code == 1
    assert not Path("assets/vectors").exists(), "a sweep would take it for word vectors"
    arguments = ["vectors", str(encoder), "assets/vectors", "texts.jsonl", "--width", "6", "--threads", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "10 words, 100.0% of the texts' tokens" in result.output
    table = spacy.load("assets/vectors").vocab
    assert table.vectors.shape == (10, 6)
    assert np.any(table["beans"].vector)
    for form in ("Beans", "BEANS"):
        assert np.array_equal(table["beans"].vector, table[form].vector)
    assert not np.any(table["unheard-of"].vector)

    nlp = spacy.blank("en")
    docs = []
    for text in texts:
        doc = nlp.make_doc(text)
        doc.ents = [doc.char_span(8, text.index(" in"), "FOOD")]
        docs.append(doc)
    DocBin(docs=docs).to_disk("train.spacy")
    Path("labels.json").write_text('["FOOD"]', encoding="utf8")
    options = {
        "output": "trained",
        "paths.train": "train.spacy",
        "paths.dev": "train.spacy",
        "paths.vectors": "assets/vectors",
        "components.ner.model.tok2vec.embed.include_static_vectors": "true",
        "initialize.components.ner.labels": "null",
        "training.max_steps": "60",
        "training.eval_frequency": "30",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    command = [sys.executable, "-m", "spacy", "train", str(CONFIGS / "ner.cfg"), *flags]
    trained = subprocess.run(command, capture_output=True, text=True, check=False)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    student = spacy.load("trained/model-best")
    assert student.vocab.vectors.shape == (10, 6)
    frozen = freeze(Path("trained/model-best"), Path("frozen"))

    def found(doc: Doc) -> list[str]:
        return [ent.text for ent in doc.ents]

    assert found(student(texts[0])) == ["rice"]
    assert [found(frozen(text)) for text in texts] == [found(student(text)) for text in texts]
