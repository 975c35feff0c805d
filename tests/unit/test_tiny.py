"""The linear student: what it learns, that its cached rows add up to the model, and that it is saved whole."""

import copy
import itertools
import math
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import small_models as small
import spacy
from scipy.sparse import csr_matrix, identity
from scipy.special import softmax
from spacy.strings import hash_string
from spacy.training import Example
from spacy.vectors import Vectors

from spacy_distill.errors import ConfigError, InputError
from spacy_distill.evaluation.pipelines import find_component
from spacy_distill.release.freeze import freeze
from spacy_distill.release.verify import verify
from spacy_distill.students import tiny, tiny_features, tiny_fit
from spacy_distill.students.runtime import collapsed_textcat as runtime
from spacy_distill.students.vectors import set_vectors

ITEMS = ("strap", "screen", "battery", "hinge", "lid", "case", "cable", "lens", "dial", "knob")
FRAMES = {"praise": ("I love the {}.", "The {} is great!"), "complaint": ("The {} broke.", "Awful {}, never again.")}
TEXTS = [(frame.format(item), label) for item in ITEMS for label, frames in FRAMES.items() for frame in frames]
TEXTS += [(f"Zorbelquint likes the {ITEMS[0]}", "praise"), (f"Zorbelquint, the {ITEMS[1]}", "praise")]
NEW = ("A lovely lid, great!", "BROKEN dials", "", "Zorbelquint", "the the the the", "🙂", " ", "broke again. never!")


def examples(nlp, sure=0.9, texts=TEXTS):
    labels = sorted({label for _, label in texts})
    other = (1 - sure) / (len(labels) - 1)
    return [
        Example.from_dict(nlp.make_doc(text), {"cats": {name: sure if name == label else other for name in labels}})
        for text, label in texts
    ]


def student(texts=TEXTS, sure=0.9, vectors=None, **config):
    nlp = spacy.blank("en")
    if vectors is not None:
        set_vectors(nlp, list(vectors), np.array(list(vectors.values()), np.float32), "words")
    nlp.add_pipe("tiny_textcat", config=config)
    nlp.initialize(lambda: examples(nlp, sure, texts))
    return nlp


def word_vectors(seed=0):
    """RETURNS (Dict[str, List[float]]): Of the texts' words, and of words that no text has: "qqq" means what "love" and
    "great" do, "zzz" what "broke" and "awful" do."""
    drawn = np.random.default_rng(seed)
    found = {word: drawn.normal(size=6) / 3 for word in ("the", "i", "is", ".", *ITEMS, "uuu")}
    good, bad = np.eye(6)[0] * 2, np.eye(6)[1] * 2
    found |= dict.fromkeys(("love", "great", "qqq"), good) | dict.fromkeys(("broke", "awful", "zzz"), bad)
    return {word: vector.tolist() for word, vector in {**found, "never": np.zeros(6)}.items()}


@pytest.fixture(scope="module")
def trained():
    return student()


def test_it_learns_and_uses_parts_of_words_it_never_saw(trained):
    assert all(max(trained(text).cats, key=trained(text).cats.get) == label for text, label in TEXTS)
    assert trained("greatest").cats["praise"] > trained("awfully").cats["praise"] + 0.2


def test_soft_targets_are_learned_as_they_are():
    for sure in (0.7, 0.95):
        nlp = student(sure=sure)
        assert np.mean([nlp(text).cats[label] for text, label in TEXTS]) == pytest.approx(sure, abs=0.06)


def test_balance_lifts_the_rare_class():
    rare = [*TEXTS[:-2], *[(f"The {item} arrived.", "complaint") for item in ITEMS]]
    even, plain = (student(rare, balance=balance)("Something else").cats["praise"] for balance in (1.0, 0.0))
    assert even > plain


def by_hand(nlp, text):
    """RETURNS (Dict[str, float]): The scores from the weights alone: one feature after the other."""
    pipe = nlp.get_pipe("tiny_textcat")
    found = pipe._arrays
    rows = {int(key): i for i, key in enumerate(found["keys"])}
    logits, squares = np.zeros(len(pipe.labels)), 0.0
    words = [token.text for token in nlp.make_doc(text)]
    keys = [int(key) for word in words for key in runtime.word_features([word])[0]]
    for first, second in itertools.pairwise(words):
        hashes = (np.array([hash_string(word.lower())], dtype=np.uint64) for word in (first, second))
        keys += [int(key) for key in runtime.pair_keys(*hashes)]
    for row in (rows[key] for key in keys if key in rows):
        logits += found["weights"][row].astype(float) * found["scales"][row]
        squares += found["squares"][row]
    scores = np.exp(logits / math.sqrt(squares or 1) + found["bias"])
    return dict(zip(pipe.labels, scores / scores.sum(), strict=True))


@pytest.mark.parametrize("size", [1, 3, 256])
def test_cached_rows_add_up_to_the_model(trained, size):
    texts = [*NEW, *(text for text, _ in TEXTS[:5])]
    for text, doc in zip(texts, trained.pipe(texts, batch_size=size), strict=True):
        assert doc.cats == pytest.approx(by_hand(trained, text), abs=1e-5), text


def test_word_vectors_become_part_of_what_each_word_adds():
    plain, nlp = student(), student(vectors=word_vectors())
    unseen = {word: nlp(word).cats["praise"] for word in ("qqq", "zzz", "Qqq", "ZZZ")}
    neutral = nlp("vvv").cats["praise"]
    assert plain("qqq").cats == plain("zzz").cats == pytest.approx(plain("vvv").cats)
    assert min(unseen["qqq"], unseen["Qqq"]) > neutral + 0.1
    assert max(unseen["zzz"], unseen["ZZZ"]) < neutral - 0.1
    for text in (*NEW, "qqq lid, ZZZ", "uuu", *(text for text, _ in TEXTS[:5])):
        assert nlp(text).cats == pytest.approx(by_hand(nlp, text), abs=1e-5), text


def test_how_long_word_vectors_are_is_chosen_on_held_out_texts(monkeypatch):
    losses = {}

    def spy(*args, **kwargs):
        found = fitted(*args, **kwargs)
        losses[len(losses)] = found.loss
        return found

    fitted = tiny_fit.fit
    alone = []
    for scale in tiny.SCALES:
        with monkeypatch.context() as patch:
            patch.setattr(tiny, "SCALES", (scale,))
            alone.append(small.cats(student(vectors=word_vectors())))
    monkeypatch.setattr(tiny_fit, "fit", spy)
    assert small.cats(student(vectors=word_vectors())) == alone[min(losses, key=losses.__getitem__)]
    assert alone[0] != alone[1]
    losses.clear()
    student()
    assert len(losses) == 1


def test_word_vectors_are_not_saved(tmp_path):
    nlp = student(vectors=word_vectors())
    expected = small.cats(nlp, [*NEW, "qqq ZZZ"])
    saved = tiny.make_drop_vectors()(nlp)
    assert saved.vocab.vectors.shape[0] == 0
    saved.to_disk(tmp_path / "model")
    frozen = freeze(tmp_path / "model", tmp_path / "frozen")
    assert frozen.meta["vectors"]["vectors"] == 0
    assert small.cats(saved, [*NEW, "qqq ZZZ"]) == small.cats(frozen, [*NEW, "qqq ZZZ"]) == expected
    for file in (tmp_path / "frozen").rglob("*"):
        assert not file.is_file() or b"qqq" not in file.read_bytes(), file


def test_of_word_vectors_those_in_lower_case_count():
    nlp = spacy.blank("en")
    rows = np.eye(3, dtype=np.float32)
    for word in ("Apple", "pear", "plum", "a"):
        nlp.vocab.strings.add(word)
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=rows, keys=["Apple", "pear", "plum"])
    found = tiny_features.word_vectors(nlp.vocab)
    assert sorted(found.keys.tolist()) == sorted([hash_string("pear"), hash_string("plum")])
    assert (found.vectors**2).sum(axis=1).mean() == pytest.approx(1.0)
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=rows[:1], keys=["Apple"])
    assert tiny_features.word_vectors(nlp.vocab) is None
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=0 * rows, keys=["a", "pear", "plum"])
    assert tiny_features.word_vectors(nlp.vocab) is None


def test_floret_vectors_are_refused():
    nlp = spacy.blank("en")
    nlp.vocab.vectors = Vectors(
        strings=nlp.vocab.strings, data=np.ones((20, 3), np.float32), mode="floret", hash_count=2, minn=2, maxn=3
    )
    nlp.add_pipe("tiny_textcat")
    with pytest.raises(ConfigError, match="floret vectors, which have no list of words"):
        nlp.initialize(lambda: examples(nlp))


def test_many_classes_add_up_too():
    texts = [(f"{item} {frame} {i % 3}", item) for item in (*ITEMS, *map(str, range(20, 40))) for i, frame in
             enumerate(("is here", "was it", "and no other", "again"))]  # fmt: skip
    nlp = student(texts)
    assert len(nlp.get_pipe("tiny_textcat").labels) + 1 >= runtime._WIDE
    for doc in nlp.pipe(["the hinge and no 23", "", "lens again"]):
        assert doc.cats == pytest.approx(by_hand(nlp, doc.text), abs=1e-5)


@pytest.mark.parametrize("vectors", [None, word_vectors()])
def test_the_runtime_sees_the_vectors_that_were_trained_on(vectors, monkeypatch):
    seen = {}

    def spy(texts, features, *args, **kwargs):
        found = fitted(texts, features, *args, **kwargs)
        if "fit" not in seen or found.loss < seen["fit"].loss:
            seen.update(fit=found, logits=texts @ features @ found.weights + found.bias)
        return found

    fitted = tiny_fit.fit
    monkeypatch.setattr(tiny_fit, "fit", spy)
    nlp = student(vectors=vectors)
    for logits, (text, _) in zip(seen["logits"], TEXTS, strict=True):
        expected = np.exp(logits) / np.exp(logits).sum()
        assert list(nlp(text).cats.values()) == pytest.approx(expected, abs=0.01), "rounded weights"


def test_a_bounded_cache_changes_nothing(trained, monkeypatch):
    expected = small.cats(trained, [text for text, _ in TEXTS])
    monkeypatch.setattr(runtime, "CACHE_BYTES", 10_000)
    monkeypatch.setattr(runtime, "MOST_DOCS", 2)
    pipe = trained.get_pipe("tiny_textcat")
    pipe._forget()
    assert small.cats(trained, [text for text, _ in TEXTS]) == expected
    assert pipe._count < 40
    pipe._forget()


def leave_uncalibrated(monkeypatch):
    unchanged = tiny_fit.Calibration((1.0,), np.zeros(2), 1.0)
    monkeypatch.setattr(tiny_fit, "calibrate", lambda *_, **__: unchanged)


def test_a_class_that_weighs_more_is_not_said_more_often(monkeypatch) -> None:
    # Of 600 texts 60 are of the rare class, and words say little: weighted alone, half of the texts would be called so.
    drawn = np.random.default_rng(0)
    which = np.arange(600) % 10 == 0
    texts = csr_matrix(drawn.normal(size=(600, 20)) + 0.4 * which[:, None])
    targets, ones = np.eye(2)[which.astype(int)], np.ones((600, 1))

    def rare(balance: float) -> float:
        how = {"balance": balance, "numbers": np.arange(600), "exclusive": True}
        found = tiny_fit.fit(texts, identity(20, format="csr"), targets, ones, **how)
        return float(softmax(texts @ found.weights + found.bias, axis=1)[:, 1].mean())

    assert [rare(0.0), rare(1.0)] == pytest.approx([0.1, 0.1], abs=0.03)
    leave_uncalibrated(monkeypatch)
    assert rare(1.0) > 0.25


def test_over_texts_or_over_features_it_is_the_same_problem(monkeypatch):
    def scores():
        nlp = student(TEXTS * 2)
        return [list(doc.cats.values()) for doc in nlp.pipe(NEW)]

    monkeypatch.setattr(tiny_fit, "PENALTIES", (0.3,))
    monkeypatch.setattr(tiny_fit, "_TOLERANCE", 1e-10)
    leave_uncalibrated(monkeypatch)
    over_texts = scores()
    monkeypatch.setattr(tiny_fit, "MOST_TEXTS", 0)
    assert np.array(scores()) == pytest.approx(np.array(over_texts), abs=0.01)


def test_of_copies_none_is_held_out_where_another_is_learned():
    """Labels that the texts do not tell: whoever has seen a copy knows them, nobody else can."""
    drawn = np.random.default_rng(0)
    count, copies = 60, 4
    texts = csr_matrix(np.tile(drawn.normal(size=(count, 200)), (copies, 1)))
    targets = np.tile(np.eye(2)[drawn.integers(0, 2, count)], (copies, 1))
    ones, names = np.ones((count * copies, 1)), [f"text {i}" for i in range(count)] * copies
    numbers = tiny_fit.numbered(names)
    assert list(numbers) == [*range(count)] * copies
    apart = tiny_fit.fit(
        texts, identity(200, format="csr"), targets, ones, balance=0.0, numbers=numbers, exclusive=True
    )
    every = np.arange(count * copies)
    mixed = tiny_fit.fit(texts, identity(200, format="csr"), targets, ones, balance=0.0, numbers=every, exclusive=True)
    assert apart.loss > 0.6 > 0.3 > mixed.loss


def test_words_that_the_corpus_cut_otherwise_are_learned_as_the_pipeline_sees_them():
    nlp = spacy.blank("en")
    nlp.add_pipe("tiny_textcat")
    nlp.initialize(
        lambda: [
            Example.from_dict(nlp.make_doc(text), {"cats": {"a": float(a), "b": float(not a)}, "words": list(text)})
            for text, a in [("xyxyx yyyyyx", True), ("xyxyx zxzxzx", False)] * 10
        ]
    )
    assert nlp("yyyyyx").cats["a"] > 0.53 > 0.47 > nlp("zxzxzx").cats["a"]


def test_several_labels_a_text_and_unknown_ones():
    nlp = spacy.blank("en")
    nlp.add_pipe("tiny_textcat", config={"exclusive": False, "balance": 0.0})
    found = []
    for i, item in enumerate(ITEMS * 4):
        text = f"{item} {'hot' if i % 2 else 'mild'} {'red' if i % 3 else 'plain'}"
        cats = {"hot": float(i % 2), "red": float(i % 3 > 0)}
        if i % 5 == 0:
            del cats["hot"]
        found.append(Example.from_dict(nlp.make_doc(text), {"cats": cats}))
    nlp.initialize(lambda: found)
    assert nlp("hot red").cats["hot"] > 0.5 < nlp("hot red").cats["red"]
    assert nlp("mild red").cats["hot"] < 0.5 < nlp("mild red").cats["red"]
    component = find_component(nlp)
    assert (component.exclusive, component.threshold) == (False, 0.5)
    assert nlp.evaluate([example for example in found if "hot" in example.reference.cats])["cats_score"] > 0.9


def test_it_is_saved_whole(trained, tmp_path):
    expected = small.cats(trained, NEW)
    trained.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    assert small.cats(loaded, NEW) == expected
    assert loaded.tokenizer.max_cache_size == runtime.TOKENIZER_CACHE
    copy = spacy.blank("en")
    copy.add_pipe("tiny_textcat")
    copy.from_bytes(trained.to_bytes())
    assert small.cats(copy, NEW) == expected
    assert find_component(copy).labels == ("complaint", "praise")


def test_it_is_released_as_the_runtime_without_the_words_it_saw(trained, tmp_path):
    trained.to_disk(tmp_path / "model")
    frozen = freeze(tmp_path / "model", tmp_path / "frozen")
    assert frozen.get_pipe_meta("tiny_textcat").factory == "collapsed_textcat"
    assert small.cats(frozen, NEW) == small.cats(trained, NEW)
    assert verify(trained, tmp_path / "frozen", [text for text in NEW if text]) > len(NEW)
    for file in (tmp_path / "frozen").rglob("*"):
        assert not file.is_file() or b"orbelquint" not in file.read_bytes(), file


def test_what_is_remembered_is_bounded_with_its_index(trained, monkeypatch):
    monkeypatch.setattr(runtime, "CACHE_BYTES", 2_000_000)
    nlp = copy.deepcopy(trained)
    pipe = nlp.get_pipe("tiny_textcat")
    most = 0
    for first in range(0, 20_000, 500):
        nlp(" ".join(f"w{number}" for number in range(first, first + 500)))
        held = (pipe._rows, pipe._lower, pipe._forms._keys, pipe._forms._rows, pipe._forms._passed)
        most = max(most, sum(array.nbytes for array in held))
    assert 500_000 < most <= 2_000_000


def test_docs_of_several_vocabularies_are_answered_together(trained):
    texts = ["uniqueone is great", "othertwo broke", "great"]
    docs = [spacy.blank("en").make_doc(text) for text in texts]
    found = list(copy.deepcopy(trained).pipe(docs))
    assert [doc.cats for doc in found] == [pytest.approx(trained(text).cats) for text in texts]


def test_many_threads_get_the_answers_that_one_gets(trained):
    chance = random.Random(0)
    texts = [" ".join("".join(chance.choices("goodbaf", k=6)) for _ in range(30)) for _ in range(400)]
    shared, alone = copy.deepcopy(trained), copy.deepcopy(trained)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: shared(text).cats, texts))
    assert found == [pytest.approx(alone(text).cats) for text in texts]
    assert [shared(text).cats for text in texts] == [pytest.approx(cats) for cats in found]


def test_in_another_pipeline_it_meets_words_that_its_own_never_saw(trained):
    other = spacy.blank("en")
    other.add_pipe("tiny_textcat", source=trained)
    text = "an unheardof kettle, great"
    assert other(text).cats == pytest.approx(copy.deepcopy(trained)(text).cats)


def test_other_components_scores_stay(trained):
    doc = trained.make_doc("Great lid")
    doc.cats["spam"] = 0.25
    assert trained.get_pipe("tiny_textcat")(doc).cats.keys() == {"spam", "complaint", "praise"}


@pytest.mark.parametrize("value", [1.2, -0.1])
def test_what_is_no_probability_is_refused(value):
    nlp = spacy.blank("en")
    nlp.add_pipe("tiny_textcat")
    wrong = [Example.from_dict(nlp.make_doc("a pear"), {"cats": {"fruit": value, "tool": 0.0}})]
    with pytest.raises(InputError, match=f"'fruit' has the value {value}"):
        nlp.initialize(lambda: wrong)


def test_one_class_is_too_few():
    with pytest.raises(InputError, match=r"has 1 texts and the classes \[a\] to learn from: too few"):
        small.train(_blank(), [("a pear", "a")], steps=0)


def _blank():
    nlp = spacy.blank("en")
    nlp.add_pipe("tiny_textcat")
    return nlp


def test_the_index_finds_what_was_added_and_nothing_else():
    chance = np.random.default_rng(0)
    keys = np.unique(chance.integers(1, 2**63, 5000).astype(np.uint64))
    keys[:500] = np.unique(chance.integers(1, 2**40, 600))[:500].astype(np.uint64) << np.uint64(20)  # all one place
    index, rows = runtime.Index(16), np.arange(1, len(keys) + 1)
    for part in np.array_split(np.arange(len(keys)), 7):
        index.add(keys[part], rows[part])
    assert (index.find(keys) == rows).all()
    absent = np.setdiff1d(chance.integers(1, 2**63, 5000).astype(np.uint64), keys)
    assert not index.find(np.append(absent, np.uint64(0))).any()


def test_only_so_many_features_are_kept(monkeypatch):
    monkeypatch.setattr(tiny, "MOST_BYTES", 50 * 18)
    nlp = student()
    assert len(nlp.get_pipe("tiny_textcat")._arrays["keys"]) == 50
    assert nlp("great").cats["praise"] > 0.5
    words = len(student(vectors=word_vectors()).get_pipe("tiny_textcat")._arrays["keys"])
    assert words == 50
