"""What happens to released components in operation: interrupted calls, forks, error handlers, blocked tokens."""

import os
import threading
import warnings
from pathlib import Path

import pytest
import small_models as small
import spacy
from spacy.training import Example

from spacy_distill.students.runtime import cached_attention, collapsed_textcat
from spacy_distill.students.runtime.frozen_encoder import FrozenEncoderNER

TEXTS = [text for text, _ in small.CATS] + list(small.NEW)


def tiny():
    nlp = spacy.blank("en")
    nlp.add_pipe("tiny_textcat", name="textcat")
    nlp.initialize(
        lambda: [Example.from_dict(nlp.make_doc(text), {"cats": {label: 1.0}}) for text, label in small.CATS]
    )
    return nlp


def accurate():
    nlp = spacy.blank("en")
    model = {**small.attention(), "@architectures": "spacy_distill.CachedAttention.v1"}
    model.pop("nO", None)
    nlp.add_pipe("soft_textcat", name="textcat", config={"model": model})
    return small.train(nlp)


@pytest.mark.parametrize("place", ["add", "sum_segments", "word_features"])
def test_an_interrupted_call_leaves_no_word_half_learned(monkeypatch, place):
    nlp = tiny()
    expected = small.cats(nlp, TEXTS)
    component = nlp.get_pipe("textcat")
    component._forget()

    def interrupted(function):
        def call(*arguments):
            if place == "add":
                function(*arguments)
            raise KeyboardInterrupt

        return call

    where = collapsed_textcat.Index if place == "add" else collapsed_textcat
    with monkeypatch.context() as patched:
        patched.setattr(where, place, interrupted(getattr(where, place)))
        with pytest.raises(KeyboardInterrupt):
            nlp(TEXTS[0])
    assert small.cats(nlp, TEXTS[::-1]) == expected[::-1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes can be forked")
@pytest.mark.parametrize("make", [tiny, accurate])
def test_a_fork_does_not_wait_for_other_threads(make):
    nlp = make()
    expected = small.cats(nlp, TEXTS)
    locks = [one.lock for one in collapsed_textcat._LOCKS] + [one._lock for one in cached_attention._ALIVE]
    assert locks
    for lock in locks:  # as if other threads were just answering
        assert lock.acquire(timeout=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on forks beside threads
        child = os.fork()
    if not child:
        os._exit(0 if small.cats(nlp, [*TEXTS, "Quite another lid"])[: len(TEXTS)] == expected else 1)
    for lock in locks:
        lock.release()
    ended: list[int] = []
    waiting = threading.Thread(target=lambda: ended.append(os.waitpid(child, 0)[1]))
    waiting.start()
    waiting.join(timeout=30)
    if waiting.is_alive():
        os.kill(child, 9)
        waiting.join()
    assert ended == [0]


def test_an_error_is_reported_once():
    nlp = tiny()
    component = nlp.get_pipe("textcat")
    said = []
    nlp.set_error_handler(lambda name, component, docs, error: said.append((name, len(docs), str(error))))
    component.set_annotations = lambda docs, scores: 1 / 0
    with pytest.raises(ValueError, match="E005"):  # as of spaCy's own components
        nlp("The lid broke.")
    assert said == [("textcat", 1, "division by zero")]


@pytest.mark.parametrize(
    "factory", ["collapsed_textcat", "tiny_textcat", "frozen_encoder_textcat", "frozen_encoder_ner"]
)
def test_what_has_learned_nothing_says_so(factory, tmp_path: Path):
    nlp = spacy.blank("en")
    nlp.add_pipe(factory)
    with pytest.raises(ValueError, match=f"'{factory}' has learned nothing"):
        nlp("The lid broke.")
    with pytest.raises(ValueError, match=f"'{factory}' has learned nothing"):
        list(nlp.pipe(["The lid broke."]))
    if factory.startswith("frozen"):
        with pytest.raises(ValueError, match=f"'{factory}' has learned nothing"):
            nlp.to_disk(tmp_path)


def test_blocked_tokens_stay_blocked():
    nlp = spacy.blank("en")
    doc = nlp("Ada met Bo in Oslo")
    doc.set_ents([], blocked=[doc[2:3]])
    component = FrozenEncoderNER(nlp.vocab, "ner")
    component.set_annotations([doc], [[(0, 1, "PERSON"), (2, 3, "PERSON"), (4, 5, "PLACE")]])
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Ada", "PERSON"), ("Oslo", "PLACE")]
    assert [token.ent_iob for token in doc] == [3, 2, 3, 2, 3]
    component.set_annotations([doc], [[(2, 3, "PERSON")]])
    assert [ent.text for ent in doc.ents] == ["Ada", "Oslo"]
