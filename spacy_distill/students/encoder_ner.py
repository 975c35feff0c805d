"""`encoder_ner`: finds entities with a pretrained encoder whose layers learn them, in minutes and with torch.

It runs on `frozen_encoder_ner`, which is also what it is released as: that needs neither torch nor transformers.
"""

from typing import Any, Callable, Dict, Iterable, List, Optional

import numpy as np
from spacy.language import Language
from spacy.training import Example

from ..errors import InputError
from .encoder import tuning
from .runtime.frozen_encoder import FrozenEncoderNER, words_of

_UNKNOWN = -1


class EncoderNER(FrozenEncoderNER):
    """`frozen_encoder_ner`, and how it learns.

    encoder_name (str): See `read_encoder`.
    tuned_layers (int): How many of the encoder's last layers learn.
    epochs (int): How often they learn each text: more often where there are few, less often where there are many.
    """

    encoder_name: str
    tuned_layers: int
    epochs: int

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Optional[Language] = None,
        labels: Optional[Iterable[str]] = None,
    ) -> None:
        """Learn from all examples.

        get_examples (Callable[[], Iterable[Example]]): Texts with entities. Tokens that are missing are neither learned
            nor unlearned.
        labels (Optional[Iterable[str]]): The classes; those of the examples if there are none.
        RAISES (InputError): No encoder, nothing to learn from, or a label that is not among the labels.
        RAISES (ConfigError): The encoder has fewer layers, or there is no torch.
        """
        from .encoder_files import read_encoder

        examples = list(get_examples())
        there = {ent.label_ for example in examples for ent in example.reference.ents}
        names = sorted(there) if labels is None else list(labels)
        if new := there.difference(names):
            raise InputError(
                f"{self.name!r} has texts with {', '.join(sorted(new))}, and labels without: make both anew."
            )
        if not there:
            raise InputError(f"{self.name!r} has {len(examples)} texts without an entity to learn from.")
        encoder = read_encoder(self.encoder_name)
        how = tuning(encoder, self.name, self.tuned_layers, self.epochs)
        ids, words, targets = [], [], []
        for example in examples:
            doc, tags = example.predicted, _tags(example, names)
            for window in encoder.pieces.windows([doc[i].text for i in words_of(doc)]):
                own = tags[window.first : window.first + len(window.places)]
                known = own != _UNKNOWN
                if known.any():
                    ids.append(window.ids)
                    words.append(np.array(window.places)[known].tolist())
                    targets.append(own[known])
        from .encoder_tune import tune

        wanted = np.eye(1 + 2 * len(names))[np.concatenate(targets)]
        tuned = tune(encoder, ids, wanted, np.ones((len(wanted), 1)), how, exclusive=True, words=words)
        self.set_weights(names, tuned.encoder, tuned.dense, tuned.bias)


def _tags(example: Example, labels: List[str]) -> Any:
    """RETURNS (NDArray[int64]): The tags of a text's words, see `FrozenEncoderNER`: those words that the pipeline sees,
    which the corpus may have cut otherwise."""
    known: Dict[Optional[str], int] = {None: _UNKNOWN, "-": _UNKNOWN, "O": 0}
    for k, label in enumerate(labels):
        known[f"B-{label}"] = known[f"U-{label}"] = 1 + 2 * k
        known[f"I-{label}"] = known[f"L-{label}"] = 2 + 2 * k
        example.predicted.vocab.strings.add(label)
    tags = example.get_aligned_ner()
    return np.array([known[tags[i]] for i in words_of(example.predicted)], np.int64)


@Language.factory(
    "encoder_ner",
    assigns=["doc.ents"],
    default_config={"tuned_layers": 6, "epochs": 20},
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_encoder_ner(nlp: Language, name: str, encoder: str, tuned_layers: int, epochs: int) -> EncoderNER:
    """Make an `encoder_ner`: see `EncoderNER`."""
    component = EncoderNER(nlp.vocab, name)
    component.encoder_name, component.tuned_layers, component.epochs = encoder, tuned_layers, epochs
    return component
