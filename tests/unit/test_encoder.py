"""The encoder tier: the encoder against transformers, the classifier, training by `spacy train`, the release."""

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import small_encoder
import small_models as small
import spacy
from scipy.special import erf
from spacy.cli.train import train
from spacy.util import load_config, load_model_from_config

from spacy_distill.errors import ConfigError, InputError
from spacy_distill.release.freeze import freeze
from spacy_distill.release.verify import verify
from spacy_distill.students import encoder_fit
from spacy_distill.students.encoder_files import read_encoder, read_safetensors
from spacy_distill.students.encoder_fit import fit_head, select_ngrams
from spacy_distill.students.runtime.frozen_encoder import LONGEST, Encoder, Ngrams, gelu

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TEXTS = [
    "It was very lovely!",
    "The screen's bright -- and the strap, not...",
    "Ça va ? 科学 naïve café",
    "a\u200bb x\ufffdy don't—stop #tag\x00",
    "",
    "İt 🥚🍬 ½ हिन्दी",
    "the hinge snapped " * 200,
    "y" * 101,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_encoder.write(tmp_path_factory.mktemp("encoder") / "small")


def plain(packed):
    """RETURNS (Dict[str, NDArray]): The weights as the encoder uses them."""
    return {
        name: value * packed[f"{name}.scale"] if f"{name}.scale" in packed else value
        for name, value in packed.items()
        if not name.endswith(".scale")
    }


def test_texts_are_split_as_the_library_does_it(folder):
    library = pytest.importorskip("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.enable_truncation(LONGEST)
    pieces = read_encoder(str(folder)).pieces
    for text in TEXTS:
        assert pieces(text) == library.encode(text).ids, text


@pytest.mark.local
def test_it_computes_what_transformers_computes(folder):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    encoder = read_encoder(str(folder))
    model = transformers.BertModel(transformers.BertConfig.from_pretrained(folder), add_pooling_layer=False).eval()
    state = {name: torch.tensor(value) for name, value in plain(encoder.arrays).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("position_ids" in name for name in missing)
    found = encoder.encode(TEXTS)
    for text, row in zip(TEXTS, found, strict=True):
        with torch.inference_mode():
            hidden = model(torch.tensor([encoder.pieces(text)])).last_hidden_state[0].numpy()
        assert row == pytest.approx(np.concatenate([hidden.mean(axis=0), hidden.max(axis=0)]), abs=2e-5), text


def test_a_text_is_encoded_the_same_in_any_company(folder):
    encoder = read_encoder(str(folder))
    together = encoder.encode(TEXTS)
    for text, row in zip(TEXTS, together, strict=True):
        assert encoder.encode([text])[0] == pytest.approx(row, abs=2e-5)


def test_packed_weights_are_within_half_a_step():
    arrays = small_encoder.weights()
    packed = Encoder.pack(arrays)
    for name, value in plain(packed).items():
        step = np.abs(arrays[name]).max(axis=-1, keepdims=True) / 127
        assert (np.abs(value - arrays[name]) <= 0.51 * step).all()
        assert packed[name].dtype == (np.int8 if value.ndim == 2 else np.float32)


def test_gelu():
    x = np.linspace(-9, 9, 4001, dtype=np.float32)
    assert gelu(x) == pytest.approx(x * (1 + erf(x / math.sqrt(2))) / 2, abs=1e-6)


@pytest.mark.parametrize("changes", [{"model_type": "mpnet"}, {"hidden_act": "relu"}, {"layer_norm_eps": 1e-5}])
def test_another_kind_of_encoder_is_refused(tmp_path, changes):
    small_encoder.write(tmp_path / "other", **changes)
    with pytest.raises(ConfigError, match=r"runs BERT with word pieces alone.*textcat_transformer\.cfg"):
        read_encoder(str(tmp_path / "other"))


@pytest.mark.parametrize("option", ["strip_accents", "clean_text", "handle_chinese_chars"])
def test_an_encoder_whose_texts_are_cleaned_in_another_way_is_refused(tmp_path, option):
    path = small_encoder.write(tmp_path / "other") / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["normalizer"][option] = False
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(ConfigError, match=rf"'{option}': False.*runs BERT with word pieces alone"):
        read_encoder(str(tmp_path / "other"))


def test_an_encoder_without_weights_is_refused(tmp_path):
    small_encoder.write(tmp_path / "half")
    (tmp_path / "half" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model\.safetensors"):
        read_encoder(str(tmp_path / "half"))


def test_weights_in_bfloat16_are_read_and_other_kinds_refused(tmp_path):
    path = small_encoder.write(tmp_path / "other") / "model.safetensors"
    whole = read_safetensors(path)
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    for kind in ("BF16", "F8_E5M2"):
        numbers = b""
        for name in whole:
            half = (whole[name].view(np.uint32) >> 16).astype("<u2").tobytes()
            header[name] |= {"dtype": kind, "data_offsets": [len(numbers), len(numbers) + len(half)]}
            numbers += half
        written = json.dumps(header).encode()
        path.write_bytes(len(written).to_bytes(8, "little") + written + numbers)
        if kind == "BF16":
            for name, array in read_safetensors(path).items():
                assert array == pytest.approx(whole[name], rel=2**-7)
            read_encoder(str(tmp_path / "other"))
        else:
            with pytest.raises(ConfigError, match=r"F8_E5M2; save it as F32, F16, BF16"):
                read_encoder(str(tmp_path / "other"))


def test_an_encoder_for_shorter_texts_is_refused(tmp_path):
    arrays = small_encoder.weights()
    name = "embeddings.position_embeddings.weight"
    small_encoder.write(tmp_path / "short", {**arrays, name: arrays[name][:128]})
    with pytest.raises(ConfigError, match="reads 128 word pieces at most"):
        read_encoder(str(tmp_path / "short"))


def test_ngrams_have_a_limit(monkeypatch):
    texts = ["red pear", "red pear", "red plum", "red plum", "red red"]
    every = select_ngrams(texts, 2)
    monkeypatch.setattr(encoder_fit, "MOST_BYTES", 7 * (2 + 16))
    some = select_ngrams(texts, 2)
    assert len(some.keys) == 7 < len(every.keys)
    assert some.idf == pytest.approx(1.0)  # those in all texts


def test_texts_that_the_encoder_cannot_tell_apart_do_not_weigh_without_bound():
    targets = np.eye(2)[[0, 1] * 20]
    encoded = np.random.default_rng(0).normal(scale=1e-7, size=(40, 8)) + 1
    for found in (encoded, np.ones((40, 8))):
        head = head_for(found, ["red pear", "green plum"] * 20, targets)
        assert np.abs(head.dense).max() < 10
        assert np.isfinite(head.bias).all()


def test_ngrams_in_one_text_are_left_out_and_each_kind_has_length_1():
    found = select_ngrams(["red pear", "red plum", "red red"], 2)
    rows, weights = found("red pear, red")
    # "red", and of " red " the n-grams " re", "red", "ed ", " red", "red ", " red "; "pear" is in one text alone.
    assert len(found.keys) == 1 + 6
    assert len(rows) == len(set(rows.tolist()))
    assert weights @ weights == pytest.approx(2.0)
    assert len(found("nothing")[0]) == 0


def head_for(encoded, texts, targets):
    return fit_head(
        encoded, texts, select_ngrams(texts, 2), targets, np.ones((len(texts), 1)), balance=0.0, exclusive=True
    )


def test_the_classifier_listens_to_what_helps():
    rng = np.random.default_rng(0)
    which = rng.integers(2, size=80)
    targets = np.eye(2)[which]
    noise = rng.normal(size=(80, 8)).astype(np.float32)
    words = np.array(["plum and", "saw or"])
    # What the encoder says differs, so these are different texts, if only by blanks, and not copies.
    by_words = head_for(noise, [f"{words[k]} {i % 5}" + i * " " for i, k in enumerate(which)], targets)
    assert by_words.ngram_weight > 0
    told = noise.copy()
    told[:, 0] += 4 * which
    by_encoder = head_for(
        told, [f"{words[k]} {i % 5}" + i * " " for i, k in enumerate(rng.integers(2, size=80))], targets
    )
    assert by_encoder.ngram_weight == 0
    assert len(by_encoder.sparse) == 0
    assert ((told @ by_encoder.dense + by_encoder.bias).argmax(axis=1) == which).mean() > 0.95


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """`model-best` of `spacy train configs/textcat_encoder.cfg`."""
    root = tmp_path_factory.mktemp("training")
    overrides = {**small.write_corpus(root), "paths.encoder": str(folder)}
    train(CONFIGS / "textcat_encoder.cfg", root / "out", overrides=overrides)
    return root / "out" / "model-best"


def test_spacy_train_trains_it(trained):
    nlp = spacy.load(trained)
    assert nlp.get_pipe("textcat").labels == ("praise", "complaint")
    assert nlp.meta["performance"]["cats_score"] == pytest.approx(1.0)
    for text, label in small.CATS:
        cats = nlp(text).cats
        assert max(cats, key=cats.get) == label
        assert sum(cats.values()) == pytest.approx(1.0)


def test_it_needs_no_encoder_any_more_and_is_released_with_its_code(trained, tmp_path):
    before = small.cats(spacy.load(trained))
    freeze(trained, tmp_path / "frozen")
    settings = load_config(tmp_path / "frozen" / "config.cfg")["components"]["textcat"]
    assert settings == {"factory": "frozen_encoder_textcat", "exclusive": True}
    assert [file.name for file in (tmp_path / "frozen").glob("*.py")] == ["frozen_encoder.py"]
    assert verify(spacy.load(trained), tmp_path / "frozen", small.NEW) > len(small.NEW)
    assert small.cats(spacy.load(tmp_path / "frozen")) == before
    for file in (tmp_path / "frozen").rglob("*"):
        assert not file.is_file() or b"Grubelwitz" not in file.read_bytes(), file


def test_bytes_hold_all_of_it(trained):
    nlp = spacy.load(trained)
    copy = load_model_from_config(nlp.config)
    copy.from_bytes(nlp.to_bytes())
    assert small.cats(copy) == small.cats(nlp)


def test_it_goes_to_other_processes_whole(trained):
    nlp = spacy.load(trained)
    doc = nlp.make_doc("a kettle")
    component = nlp.get_pipe("textcat")
    sent = pickle.loads(pickle.dumps(component))
    assert sent.predict([doc]) == pytest.approx(component.predict([doc]))


def test_several_labels_a_text(folder):
    nlp = spacy.blank("en")
    nlp.add_pipe("encoder_textcat", config={"encoder": str(folder), "exclusive": False})
    small.train(nlp, steps=0)
    for text, label in small.CATS:
        cats = nlp(text).cats
        assert cats[label] > max(0.5, min(cats.values()))


def test_texts_without_a_known_word_get_an_answer(trained):
    nlp = spacy.load(trained)
    for doc in nlp.pipe(["", " ", "科"]):
        assert sum(doc.cats.values()) == pytest.approx(1.0)


def test_nothing_to_tell_apart_is_refused(folder):
    nlp = spacy.blank("en")
    nlp.add_pipe("encoder_textcat", config={"encoder": str(folder)})
    with pytest.raises(InputError, match=r"has 3 texts and the classes \[praise\] to learn from"):
        small.train(nlp, cats=small.CATS[:3], steps=0)


def test_no_ngrams_at_all():
    rows, weights = Ngrams(np.zeros(0, np.uint64), np.zeros(0, np.float32))("a text")
    assert len(rows) == len(weights) == 0
