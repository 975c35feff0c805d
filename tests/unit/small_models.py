"""Pipelines that train in a second on invented texts."""

import json

import numpy as np
import spacy
from spacy.tokens import DocBin
from spacy.training import Example

from spacy_distill.students import soft_textcat  # noqa: F401  (registers the factories where nothing is installed)

PRAISE = ("Lovely screen, very bright.", "The strap fits well, I love it!", "Great sound for the price.")
COMPLAINT = ("It broke after Grubelwitz touched it.", "Awful battery, never again.", "The hinge snapped, bad quality.")
CATS = [(text, "praise") for text in PRAISE] + [(text, "complaint") for text in COMPLAINT]
ENTS = [
    ("Fry the onions in a wok.", [(8, 14, "FOOD"), (20, 23, "TOOL")]),
    ("Put the rice in a pot.", [(8, 12, "FOOD"), (18, 21, "TOOL")]),
]
NEW = ("A lovely wok, great!", "The pot broke, awful.", "Is it an onion?")


def write_corpus(folder):
    """Write `CATS` as `spacy-distill corpus` does: soft labels to train on, hard ones in dev.

    RETURNS (Dict[str, str]): The paths, as overrides of a config.
    """
    nlp = spacy.blank("en")
    docs = []
    for text, label in CATS * 3:
        doc = nlp.make_doc(text)
        doc.cats = {name: 0.9 if name == label else 0.1 for name in ("complaint", "praise")}
        docs.append(doc)
    DocBin(docs=docs).to_disk(folder / "train.spacy")
    for doc in docs:
        doc.cats = {name: float(score > 0.5) for name, score in doc.cats.items()}
    DocBin(docs=docs).to_disk(folder / "dev.spacy")
    (folder / "labels.json").write_text(json.dumps(["praise", "complaint"]))
    files = {"train": "train.spacy", "dev": "dev.spacy", "labels": "labels.json"}
    return {f"paths.{name}": str(folder / file) for name, file in files.items()}


def attention(width=16, *, exclusive=True, vectors=False):
    """A text classification model with its own token vectors."""
    return {
        "@architectures": "spacy.TextCatParametricAttention.v1",
        "tok2vec": tok2vec(width, vectors=vectors),
        "exclusive_classes": exclusive,
        "nO": None,
    }


def tok2vec(width=16, *, vectors=False):
    return {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "width": width,
        "depth": 1,
        "embed_size": 200,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": True,
        "pretrained_vectors": vectors or None,
    }


def listener(width=16):
    return {"@architectures": "spacy.Tok2VecListener.v1", "width": width, "upstream": "*"}


def word_vectors(nlp, width=8, seed=0):
    """Give every word of the texts a vector."""
    rng = np.random.default_rng(seed)
    for text in (*PRAISE, *COMPLAINT, *NEW):
        for token in nlp.make_doc(text):
            nlp.vocab.set_vector(token.text, rng.normal(size=width).astype("float32"))
    return nlp


def train(nlp, cats=CATS, ents=(), steps=12):
    """Train all components on cats and entities."""
    labels = sorted({label for _, label in cats})
    examples = [
        Example.from_dict(nlp.make_doc(text), {"cats": {name: 0.9 if name == label else 0.1 for name in labels}})
        for text, label in cats
    ]
    examples += [Example.from_dict(nlp.make_doc(text), {"entities": found}) for text, found in ents]
    nlp.initialize(lambda: examples)
    for _ in range(steps):
        nlp.update(examples)
    return nlp


def soft_student(**config):
    """A trained pipeline with `soft_textcat`, whose labels are "complaint" and "praise"."""
    nlp = spacy.blank("xx")
    nlp.add_pipe("soft_textcat", name="topic", config={"model": attention(), "balance": 0.5, **config})
    return train(nlp)


def shared_student():
    """A trained pipeline whose `soft_textcat` listens to a shared `tok2vec`."""
    nlp = spacy.blank("xx")
    nlp.add_pipe("tok2vec", config={"model": tok2vec()})
    nlp.add_pipe("soft_textcat", config={"model": {**attention(), "tok2vec": listener()}})
    return train(nlp)


def entity_student():
    """A trained pipeline with `ner`, whose labels are "FOOD" and "TOOL"."""
    nlp = spacy.blank("xx")
    nlp.add_pipe("ner")
    return train(nlp, cats=(), ents=ENTS, steps=30)


def cats(nlp, texts=NEW):
    return [dict(doc.cats) for doc in nlp.pipe(texts)]


def entities(nlp, texts=tuple(text for text, _ in ENTS)):
    return [[(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents] for doc in nlp.pipe(texts)]
