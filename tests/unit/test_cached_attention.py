"""The cached attention says what spaCy's own layers say, whatever the texts, the weights and what was asked before."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vectors import Vectors

from spacy_distill.release.freeze import freeze
from spacy_distill.release.verify import verify
from spacy_distill.students.runtime import cached_attention
from spacy_distill.students.runtime.cached_attention import STOCK, gelu

CACHED = "spacy_distill.CachedAttention.v1"
TEXTS = [
    "",
    "Plums",
    "We don't take plums home.",
    "plums  \n home",
    "",
    "a",
    "The saw's handle broke, the SAW itself didn't!!! 🪚",
    " ".join(f"number {n} of a long list of sharp saws and ripe plums;" for n in range(60)),
    "grommiter frundled vexalously",
    "",
]
TRAINING = [("ripe plums", "fruit"), ("a plum", "fruit"), ("sharp saws", "tool"), ("the saw didn't cut", "tool")]


def settings(depth: int = 2, exclusive: bool = True, vectors: bool = False, **encode: Any) -> dict[str, Any]:
    return {
        "@architectures": CACHED,
        "exclusive_classes": exclusive,
        "tok2vec": {
            "@architectures": "spacy.Tok2Vec.v2",
            "embed": {
                "@architectures": "spacy.MultiHashEmbed.v2",
                "width": 16,
                "rows": [100, 100, 50],
                "attrs": ["NORM", "PREFIX", "SHAPE"],
                "include_static_vectors": vectors,
            },
            "encode": {
                "@architectures": "spacy.MaxoutWindowEncoder.v2",
                **{"width": 16, "window_size": 1, "maxout_pieces": 3, "depth": depth, **encode},
            },
        },
    }


def pipeline(model: dict[str, Any], factory: str = "soft_textcat") -> Language:
    """RETURNS (Language): A component with random weights, so large that the texts get quite different answers."""
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    words = sorted({token.text for text in TEXTS for token in nlp.make_doc(text)})[::2]
    nlp.vocab.vectors = table(nlp, words, seed=1)
    nlp.add_pipe(factory, name="topic", config={"model": model})
    for label in ("fruit", "tool", "other"):
        nlp.get_pipe("topic").add_label(label)
    nlp.initialize()
    random = np.random.default_rng(0)
    for node in nlp.get_pipe("topic").model.walk():
        for name in node.param_names:
            value = node.get_param(name)
            node.set_param(name, (value + random.normal(0, 0.3, value.shape)).astype("f"))
    return nlp


def table(nlp: Language, words: Sequence[str], seed: int) -> Vectors:
    data = np.random.default_rng(seed).normal(size=(len(words), 7)).astype("f")
    return Vectors(strings=nlp.vocab.strings, data=data, keys=[nlp.vocab.strings.add(word) for word in words])


def stock_of(nlp: Language) -> Any:
    """RETURNS (Model): spaCy's own architecture with the same weights, from the bytes."""
    config = nlp.get_pipe_config("topic")["model"]
    model = spacy.registry.resolve({"model": {**config, "@architectures": STOCK, "nO": 3}})["model"]
    return model.from_bytes(nlp.get_pipe("topic").model.to_bytes())


def docs_of(nlp: Language, texts: Sequence[str] = TEXTS) -> list[Doc]:
    return [nlp.make_doc(text) for text in texts]


def assert_same(nlp: Language, docs: Sequence[Doc] | None = None, tolerance: float = 1e-4) -> np.ndarray:
    docs = docs_of(nlp) if docs is None else docs
    expected = stock_of(nlp).predict(docs)
    found = nlp.get_pipe("topic").model.predict(docs)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < tolerance
    return expected


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_probabilities_are_those_of_the_stock_layers(depth: int, vectors: bool) -> None:
    nlp = pipeline(settings(depth, vectors=vectors))
    expected = assert_same(nlp)
    assert np.ptp(expected, axis=0).max() > 0.5
    assert_same(nlp, docs_of(nlp)[::-1])
    for doc in docs_of(nlp):
        if len(doc):
            assert_same(nlp, [doc])


def test_other_pieces_and_several_labels() -> None:
    assert_same(pipeline(settings(exclusive=False, maxout_pieces=2), "soft_textcat_multilabel"))


def test_texts_without_tokens() -> None:
    nlp = pipeline(settings())
    assert [sum(doc.cats.values()) for doc in nlp.pipe(["", ""])] == [0, 0]
    found = nlp.get_pipe("topic").model.predict(docs_of(nlp, ["", ""]))
    assert found == pytest.approx(nlp.get_pipe("topic").model.predict(docs_of(nlp, ["", "plums"]))[[0, 0]])


def test_a_token_with_a_norm_of_its_own_is_another_word() -> None:
    nlp = pipeline(settings())
    assert_same(nlp)
    doc = nlp.make_doc(TEXTS[2])
    before = nlp.get_pipe("topic").model.predict([doc])
    doc[3].norm_ = "saws"
    assert np.abs(assert_same(nlp, [doc]) - before).max() > 0.01


def test_it_trains_as_the_stock_layers_do() -> None:
    parameters = []
    for architecture in (CACHED, STOCK):
        nlp = spacy.blank("en")
        nlp.add_pipe("soft_textcat", name="topic", config={"model": {**settings(), "@architectures": architecture}})
        spacy.util.fix_random_seed(0)
        examples = training(nlp)
        optimizer = nlp.initialize(lambda examples=examples: examples)
        for _ in range(5):
            nlp.update(examples, sgd=optimizer, drop=0.1)
        model = nlp.get_pipe("topic").model
        parameters.append([node.get_param(name) for node in model.walk() for name in node.param_names])
    assert len(parameters[0]) == len(parameters[1]) > 10
    assert all(np.array_equal(*pair) for pair in zip(*parameters, strict=True))


def training(nlp: Language) -> list[Example]:
    return [
        Example.from_dict(nlp.make_doc(text), {"cats": {"fruit": 0, "tool": 0, label: 1}}) for text, label in TRAINING
    ]


def test_each_update_is_seen() -> None:
    nlp = pipeline(settings())
    optimizer = nlp.resume_training()
    optimizer.averages = {}
    docs = docs_of(nlp)
    model = nlp.get_pipe("topic").model
    last = assert_same(nlp, docs)
    for _ in range(3):
        nlp.update(training(nlp), sgd=optimizer)
        with model.use_params(optimizer.averages):  # the same arrays each time, with other numbers
            averaged = assert_same(nlp, docs)
        assert np.abs(averaged - last).max() > 1e-5
        last = averaged
    assert np.abs(assert_same(nlp, docs) - last).max() > 1e-5
    embedding = next(node for node in model.walk() if node.name == "hashembed")
    embedding.set_param("E", -embedding.get_param("E"))
    assert np.abs(assert_same(nlp, docs) - last).max() > 1e-3
    # A prediction between the gradient and the step, which changes the arrays in place.
    scores, backprop = model.begin_update(docs)
    backprop(scores - 1)
    before = assert_same(nlp, docs)
    model.finish_update(optimizer)
    assert np.abs(assert_same(nlp, docs) - before).max() > 1e-4


def test_saved_bytes_are_the_stock_ones(tmp_path: Path) -> None:
    nlp, other = pipeline(settings()), pipeline(settings())
    other.update(training(other), sgd=other.resume_training())
    assert_same(nlp)
    assert nlp.get_pipe("topic").model.to_bytes() == stock_of(nlp).to_bytes()
    other.to_disk(tmp_path)
    nlp.from_disk(tmp_path)
    assert np.array_equal(assert_same(nlp), stock_of(other).predict(docs_of(nlp)))
    as_stock = spacy.load(tmp_path, config={"components.topic.model.@architectures": STOCK})
    assert "cache" not in as_stock.get_pipe("topic").model.attrs
    assert np.array_equal(as_stock.get_pipe("topic").predict(docs_of(nlp)), stock_of(other).predict(docs_of(nlp)))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_a_cache_of_its_own(duplicate: Any) -> None:
    nlp = pipeline(settings())
    model, docs = nlp.get_pipe("topic").model, docs_of(nlp)
    before = model.predict(docs)
    copied = duplicate(model)
    assert copied.attrs["cache"] is not model.attrs["cache"]
    last = copied.get_ref("output_layer")
    last.set_param("b", last.get_param("b") + np.array([2, 0, 0], dtype="f"))
    assert np.abs(copied.predict(docs) - before).max() > 0.1
    assert np.array_equal(model.predict(docs), before)


def test_other_word_vectors_are_seen() -> None:
    nlp = pipeline(settings(vectors=True))
    before = assert_same(nlp)
    nlp.vocab.vectors = table(nlp, ["plums", "saw", "a"], seed=2)
    assert np.abs(assert_same(nlp) - before).max() > 0.01


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_attention, "MAX_WORDS", 50)
    nlp = pipeline(settings())
    stock = stock_of(nlp)
    model = nlp.get_pipe("topic").model
    sizes = []
    for start in range(0, 400, 20):
        docs = docs_of(nlp, [f"plums and item{n}" for n in range(start, start + 20)])
        assert np.abs(model.predict(docs) - stock.predict(docs)).max() < 1e-4
        sizes.append(len(model.attrs["cache"].network(model, nlp.vocab)._words.rows))
    assert 40 < max(sizes) <= 50
    everything = docs_of(nlp, [f"item{n}" for n in range(3000)])
    assert np.abs(model.predict(everything) - stock.predict(everything)).max() < 1e-4
    assert_same(nlp)
    assert len(model.attrs["cache"].network(model, nlp.vocab)._words.rows) < 150


def test_threads_may_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_attention, "MAX_WORDS", 30)
    nlp = pipeline(settings())
    batches = [docs_of(nlp, [f"plums and item{n * k}" for n in range(15)]) for k in range(1, 40)]
    stock, model = stock_of(nlp), nlp.get_pipe("topic").model
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(model.predict, batches))
    for batch, scores in zip(batches, found, strict=True):
        assert np.abs(scores - stock.predict(batch)).max() < 1e-4


@pytest.mark.parametrize(
    "tok2vec",
    [
        settings(window_size=2)["tok2vec"],
        {"@architectures": "spacy.Tok2VecListener.v1", "width": 16, "upstream": "*"},
        {
            **settings()["tok2vec"],
            "encode": {"@architectures": "spacy.MishWindowEncoder.v2", "width": 16, "window_size": 1, "depth": 2},
        },
        {
            **settings()["tok2vec"],
            "embed": {
                "@architectures": "spacy.CharacterEmbed.v2",
                "width": 16,
                "rows": 50,
                "nM": 4,
                "nC": 4,
                "include_static_vectors": False,
            },
        },
    ],
)
def test_networks_it_cannot_cache_are_refused(tok2vec: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"takes spacy\.Tok2Vec\.v2"):
        spacy.registry.resolve({"model": {**settings(), "tok2vec": tok2vec}})


def test_gelu() -> None:
    values = np.concatenate([np.linspace(-12, 12, 4001), [-1e5, 1e5]]).astype("f").reshape(-1, 1)
    ops = pipeline(settings()).get_pipe("topic").model.ops
    assert gelu(values) == pytest.approx(ops.gelu(values), rel=1e-6, abs=3e-6)


def test_a_released_pipeline_runs_it_without_this_package(tmp_path: Path) -> None:
    nlp = pipeline(settings(vectors=True))
    nlp.config["nlp"]["after_pipeline_creation"] = {"@callbacks": "spacy_distill.TokenizerCache.v1", "size": 123}
    nlp.to_disk(tmp_path / "trained")
    frozen = tmp_path / "frozen"
    assert freeze(tmp_path / "trained", frozen).tokenizer.max_cache_size == 123
    assert {file.name for file in frozen.glob("*.py")} == {"cached_attention.py", "tokenizer_cache.py"}
    assert verify(spacy.load(tmp_path / "trained"), frozen, TEXTS) > len(TEXTS) - TEXTS.count("")
