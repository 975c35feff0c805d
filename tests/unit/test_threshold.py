"""From which score on a label holds: chosen on texts that were not learned. Ours move their scores so that it is .5;
spaCy's own component keeps it."""

import numpy as np
import pytest
import small_encoder
import small_models as small
import spacy
from scipy.special import expit
from spacy.training import Example

from spacy_distill.evaluation.pipelines import find_component
from spacy_distill.release.freeze import freeze
from spacy_distill.students import encoder_fit, tiny_fit
from spacy_distill.students.threshold import best_threshold, log_odds, moved

WORDS = ("pan", "pot", "lid", "wok", "jar", "cup", "fork", "bowl")


def examples(nlp, seed=0):
    """Every text is about cooking; one in six is about eggs too, and what says so is mostly wrong."""
    drawn = np.random.default_rng(seed)
    found = []
    for i in range(240):
        eggs = i % 6 == 0
        said = drawn.random() < (0.9 if eggs else 0.2)
        text = " ".join([*drawn.permutation(WORDS)[:4], *(["omelette"] if said else [])])
        found.append(Example.from_dict(nlp.make_doc(text), {"cats": {"cooking": 1.0, "eggs": float(eggs)}}))
    return found


def scored(nlp, threshold):
    found = examples(nlp, seed=1)
    for example in found:
        example.predicted = nlp(example.predicted)
    return nlp.get_pipe(nlp.pipe_names[0]).score(found, threshold=threshold)["cats_macro_f"]


def test_a_rare_label_holds_from_where_it_is_found_best():
    targets = np.array([[1, 1], [1, 1], *[[1, 0]] * 8], np.float64)
    scores = np.array([[0.9, 0.32], [0.8, 0.28], *[[0.9, 0.11]] * 8])
    assert best_threshold(scores, targets) == 0.2  # in the middle between what holds and what does not
    scores[:, 1] *= 3
    assert best_threshold(scores, targets) == 0.5  # of many that are as good the usual one


def test_what_nobody_said_does_not_count():
    targets = np.array([[1.0], [1.0], [np.nan], [np.nan], [0.0]])
    scores = np.array([[0.46], [0.4], [0.11], [0.9], [0.22]])
    assert best_threshold(scores, targets) == 0.3
    assert best_threshold(scores, np.nan_to_num(targets, nan=1.0)) == 0.05
    assert best_threshold(scores[:2], targets[2:4]) == 0.5  # nothing known


def test_soft_targets_hold_from_one_half_on():
    scores, soft = np.array([[0.5], [0.4], [0.1]]), np.array([[0.6], [0.5], [0.4]])
    assert best_threshold(scores, soft) == best_threshold(scores, np.round(soft + 1e-6)) == 0.3


def test_one_lucky_threshold_does_not_win_over_many_good_ones():
    """Two of five have the label; from .6 on both are found and no other, but a hair beside it is much worse."""
    targets = np.array([[1.0], [1.0], [0.0], [0.0], [0.0]])
    lucky = np.array([[0.61], [0.62], [0.58], [0.59], [0.57]])
    assert best_threshold(lucky, targets) < 0.6
    assert best_threshold(lucky * [[1], [1], [0.5], [0.5], [0.5]], targets) == 0.5


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.8])
def test_scores_and_logits_are_moved_alike(threshold):
    assert moved(threshold, threshold) == pytest.approx(0.5)
    assert moved(0.0, threshold) == 0.0
    assert moved(1.0, threshold) == 1.0
    logits = np.linspace(-3, 3, 7)
    assert [moved(score, threshold) for score in expit(logits)] == pytest.approx(expit(logits - log_odds(threshold)))


@pytest.mark.parametrize("factory", ["tiny_textcat", "encoder_textcat"])
def test_scores_are_moved_so_that_a_rare_label_holds_from_one_half_on(factory, tmp_path, monkeypatch):
    config = {"encoder": str(small_encoder.write(tmp_path / "encoder"))} if factory == "encoder_textcat" else {}

    def trained():
        nlp = spacy.blank("en")
        nlp.add_pipe(factory, config={"exclusive": False, **config})
        nlp.initialize(lambda: examples(nlp))
        return nlp

    nlp = trained()
    assert find_component(nlp).threshold == 0.5
    nlp.to_disk(tmp_path / "trained")
    loaded, frozen = spacy.load(tmp_path / "trained"), freeze(tmp_path / "trained", tmp_path / "frozen")
    assert scored(loaded, 0.5) == scored(frozen, 0.5) == scored(nlp, 0.5)
    for module in (tiny_fit, encoder_fit):
        monkeypatch.setattr(module, "best_threshold", lambda scores, targets: 0.5)
    assert scored(nlp, 0.5) > scored(trained(), 0.5) + 0.01


def test_one_label_a_text_has_none(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("tiny_textcat")
    nlp.initialize(
        lambda: [Example.from_dict(nlp.make_doc(text), {"cats": {label: 1.0}}) for text, label in small.CATS]
    )
    nlp.to_disk(tmp_path / "trained")
    frozen = freeze(tmp_path / "trained", tmp_path / "frozen")
    assert small.cats(frozen) == small.cats(nlp)
    assert nlp.get_pipe("tiny_textcat").cfg["threshold"] == frozen.get_pipe("tiny_textcat").cfg["threshold"] == 0.0


def test_attention_chooses_at_each_evaluation_until_it_is_loaded(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("soft_textcat_multilabel", config={"model": small.attention(exclusive=False)})
    found = examples(nlp)
    nlp.initialize(lambda: found)
    for _ in range(5):
        nlp.update(found)
    nlp.evaluate(found)
    chosen = find_component(nlp).threshold
    assert chosen != 0.5
    nlp.to_disk(tmp_path / "trained")
    loaded = spacy.load(tmp_path / "trained")
    assert find_component(loaded).threshold == pytest.approx(chosen)
    loaded.evaluate([example for example in examples(loaded) if not example.reference.cats["eggs"]])
    assert find_component(loaded).threshold == pytest.approx(chosen)
    frozen = freeze(tmp_path / "trained", tmp_path / "frozen")
    assert frozen.get_pipe("soft_textcat_multilabel").cfg["threshold"] == pytest.approx(chosen)
    assert type(frozen.get_pipe("soft_textcat_multilabel")).__module__ == "spacy.pipeline.textcat_multilabel"
