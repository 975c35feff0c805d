"""Tuning an encoder: torch computes what the runtime does, the last layers learn, how sure it may be, `spacy train`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_encoder
import small_models as small
import spacy
from scipy.special import expit, softmax
from spacy.cli.train import train

from spacy_distill.errors import ConfigError, InputError
from spacy_distill.release.freeze import freeze
from spacy_distill.students import encoder as encoder_module
from spacy_distill.students.encoder_files import read_encoder
from spacy_distill.students.encoder_fit import Head, select_ngrams, tune_head
from spacy_distill.students.runtime.frozen_encoder import Encoder, Ngrams
from spacy_distill.students.tiers import find_tiers
from spacy_distill.students.tiny_fit import calibrate

torch = pytest.importorskip("torch")
from spacy_distill.students.encoder_tune import BATCH, Tuned, Tuning, _Network, _parts, _pool, _unpacked, tune  # noqa: E402

pytestmark = pytest.mark.local
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TEXTS = ["it was very lovely!", "", "the screen is bright, the hinge broke", "the hinge snapped " * 200]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_encoder.write(tmp_path_factory.mktemp("encoder") / "small")


def test_torch_computes_what_the_runtime_does(folder: Path) -> None:
    encoder = read_encoder(str(folder))
    network = _Network(_unpacked(encoder.arrays), encoder.heads, None)
    vectors, mask = network.embed([encoder.pieces(text) for text in TEXTS])
    found = _pool(network.layers(vectors, mask, [0, 1]), mask).numpy()
    assert found == pytest.approx(encoder.encode(TEXTS), abs=2e-5)


def order_of_words(count: int) -> tuple[list[str], np.ndarray]:
    """RETURNS (Tuple[List[str], NDArray]): Texts whose class is the order of two words, and the classes, `(N, 2)`."""
    random = np.random.default_rng(1)
    which = random.integers(2, size=count)
    extra = random.choice(["screen", "hinge", "the", "it", "is"], size=(count, 2))
    return [f"{a} {'love broke' if k else 'broke love'} {b}" for k, (a, b) in zip(which, extra, strict=True)], np.eye(
        2
    )[which]


def learn(folder: Path, seed: int = 0, *, layers: int = 1, exclusive: bool = True) -> Tuned:
    texts, targets = order_of_words(96)
    given = targets if exclusive else np.where(np.arange(192).reshape(96, 2) % 5, targets, np.nan)
    encoder, ones = read_encoder(str(folder)), np.ones((96, 1))
    ids = [encoder.pieces(text) for text in texts]
    return tune(encoder, ids, given, ones, Tuning(layers=layers, epochs=40, seed=seed), exclusive=exclusive)


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_last_layer_learns_and_the_others_stay(folder: Path, exclusive: bool) -> None:
    tuned = learn(folder, exclusive=exclusive)
    before, after = read_encoder(str(folder)).arrays, tuned.encoder.arrays
    assert before.keys() == after.keys()
    changed = {name for name in after if not np.array_equal(before[name], after[name])}
    last = {name for name in after if name.startswith("encoder.layer.1.")}
    # Keys' biases shift all the scores of a query alike, which changes nothing.
    assert last - {"encoder.layer.1.attention.self.key.bias"} <= changed <= last
    texts, targets = order_of_words(300)
    logits = tuned.encoder.encode(texts[96:]) @ tuned.dense + tuned.bias
    assert (logits.argmax(1) == targets[96:].argmax(1)).mean() > 0.9


def test_a_seed_says_it_all(folder: Path) -> None:
    one, again, other = learn(folder), learn(folder), learn(folder, seed=1)
    assert np.array_equal(one.dense, again.dense)
    assert not np.array_equal(one.dense, other.dense)


def test_two_classifiers_count_as_much_as_held_out_texts_say() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 4000, 3))
    targets = softmax(0.5 * one + 1.5 * other, axis=1)
    ones = np.ones((4000, 1))
    first, second = calibrate([one, other], targets, ones, exclusive=True).factors
    assert (first, second) == pytest.approx((0.5, 1.5), rel=0.02)
    unknown = np.where(random.random((4000, 3)) < 0.3, np.nan, expit(2 * one + 0.25 * other))
    first, second = calibrate([one, other], unknown, ones, exclusive=False).factors
    assert (first, second) == pytest.approx((2, 0.25), rel=0.02)
    assert calibrate([one, -one], softmax(one, axis=1), ones, exclusive=True).factors[1] == 0


def test_what_is_added_to_a_class_makes_good_for_its_weight() -> None:
    random = np.random.default_rng(0)
    logits, shift = random.normal(size=(4000, 3)), np.array([1.0, -0.5, -0.5])
    found = calibrate([logits], softmax(logits + shift, axis=1), np.ones((4000, 1)), exclusive=True)
    assert found.shift - found.shift.mean() == pytest.approx(shift, abs=0.02)
    found = calibrate([logits], expit(logits + shift), np.ones((4000, 1)), exclusive=False)
    assert not found.shift.any()  # what is said of each class apart keeps its weight: a threshold of .5 finds rare ones


def learn_head(folder: Path, texts: list[str], targets: np.ndarray) -> tuple[Encoder, Head, Ngrams]:
    found = select_ngrams(texts, 2)
    encoder, ones = read_encoder(str(folder)), np.ones((len(texts), 1))
    return *tune_head(encoder, texts, found, targets, ones, Tuning(1, 4, 0), balance=0.5, exclusive=True), found


def test_ngrams_and_the_tuned_encoder_add_up(folder: Path) -> None:
    texts, targets = order_of_words(115)
    encoder, head, found = learn_head(folder, texts, targets)
    assert len(head.sparse) == len(found.keys)
    assert head.ngram_weight > 0
    texts, targets = order_of_words(300)
    by_ngrams = np.stack([weights @ head.sparse[rows] for rows, weights in map(found, texts[115:])])
    logits = encoder.encode(texts[115:]) @ head.dense + head.bias + by_ngrams
    right = (logits.argmax(1) == targets[115:].argmax(1)).mean()
    assert right > 0.9
    assert softmax(logits, axis=1).max(axis=1).mean() == pytest.approx(right, abs=0.1)


def test_what_is_a_copy_is_held_out_with_its_like(folder: Path) -> None:
    # Nothing can be learned of these but by heart: whoever is judged by copies of what it learned is sure.
    random = np.random.default_rng(3)
    texts = [" ".join(random.choice(small_encoder.WORDS, 5)) for _ in range(30)]
    targets = np.eye(2)[random.integers(2, size=30)]
    _, once, _ = learn_head(folder, texts, targets)
    _, copied, _ = learn_head(folder, texts * 4, np.tile(targets, (4, 1)))
    assert min(once.loss, copied.loss) > 0.3


@pytest.mark.parametrize("texts", [["the hinge"], ["the hinge", "it is", "it is"]])
def test_too_few_texts_to_tune_on(folder: Path, texts: list[str]) -> None:
    with pytest.raises(InputError, match=f"{len(set(texts))} different texts to tune an encoder on"):
        learn_head(folder, texts, np.eye(2)[[0, 1, 0][: len(texts)]])


def test_texts_that_are_one_to_the_encoder_do_no_harm(folder: Path) -> None:
    texts = ["it was lovely", "IT was lovely", "it WAS lovely", "it  was lovely"]
    _, head, _ = learn_head(folder, texts, np.eye(2)[[0, 1, 0, 1]])
    assert np.abs(head.dense).max() < 1e4


def test_no_batch_is_much_smaller_than_another() -> None:
    for count in (1, 16, 17, 33, 100, 129):
        sizes = [len(part) for part in _parts(range(count))]
        assert sum(sizes) == count
        assert max(sizes) <= BATCH
        assert max(sizes) - min(sizes) <= 1


def test_a_few_texts_told_apart_do_not_make_it_sure() -> None:
    which = np.arange(40) % 2
    logits = np.where(np.eye(2)[which] > 0, 9.0, -9.0)
    (factor,) = calibrate([logits], np.eye(2)[which], np.ones((40, 1)), exclusive=True).factors
    assert softmax(factor * logits, axis=1).max(axis=1).mean() < 0.99


def test_spacy_train_trains_it_and_it_is_released(folder: Path, tmp_path: Path) -> None:
    settings = {"paths.encoder": str(folder), "components.textcat.tuned_layers": 2}
    train(CONFIGS / "textcat_tuned.cfg", tmp_path / "out", overrides={**small.write_corpus(tmp_path), **settings})
    trained = spacy.load(tmp_path / "out" / "model-best")
    for text, label in small.CATS:
        assert trained(text).cats[label] > 0.5
    arrays = trained.get_pipe("textcat").encoder.arrays
    assert not np.array_equal(
        arrays["encoder.layer.1.output.dense.weight"],
        read_encoder(str(folder)).arrays["encoder.layer.1.output.dense.weight"],
    )
    freeze(tmp_path / "out" / "model-best", tmp_path / "frozen")
    assert small.cats(spacy.load(tmp_path / "frozen")) == small.cats(trained)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tuned_layers": 3}, "tune 3 layers of an encoder that has 2"),
        ({"tuned_layers": -1}, "tune -1 layers"),
        ({"tuned_layers": 1, "epochs": 0}, "in 0 epochs"),
    ],
)
def test_what_cannot_be_tuned_is_said(folder: Path, settings: dict[str, int], said: str) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("encoder_textcat", config={"encoder": str(folder), **settings})
    with pytest.raises(ConfigError, match=said):
        small.train(nlp, steps=0)


def test_without_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (encoder_module, "spacy_distill.students.tiers"):
        name = module if isinstance(module, str) else module.__name__
        monkeypatch.setattr(f"{name}.find_spec", lambda _name: None)
    nlp = spacy.blank("en")
    nlp.add_pipe("encoder_textcat", config={"encoder": str(folder), "tuned_layers": 1})
    with pytest.raises(ConfigError, match=r"pip install 'spacy-distill\[local\]', or set tuned_layers = 0"):
        small.train(nlp, steps=0)
    missing = {tier.name: tier.missing for tier in find_tiers(CONFIGS, "textcat", exclusive=True)}
    assert "torch" in missing["textcat_tuned"]
