"""`soft_textcat`, `soft_textcat_multilabel`: spaCy's own text classifiers, trained on a teacher's probabilities.

Trained here, shipped stock: the model, labels and saved files are exactly those of `textcat` and
`textcat_multilabel`, which load them without this package (see `spacy_distill.release`). What differs is that targets
may lie between 0 and 1, and that rare classes can weigh more, and texts of which the teacher was less sure less.
"""

import warnings
from typing import Any, Callable, Dict, Iterable, Literal, Optional, cast

import numpy as np
from spacy.language import Language
from spacy.pipeline.textcat import DEFAULT_SINGLE_TEXTCAT_MODEL, TextCategorizer
from spacy.pipeline.textcat_multilabel import DEFAULT_MULTI_TEXTCAT_MODEL, MultiLabel_TextCategorizer
from spacy.training import Example
from thinc.api import Model

from ..errors import InputError
from .targets import class_weights, confidence_weight, mean_weight
from .threshold import best_threshold

STOCK_FACTORY = {"soft_textcat": "textcat", "soft_textcat_multilabel": "textcat_multilabel"}

# The default score weights of spaCy's own factories; without them `model-best` would be an arbitrary step.
SCORES_TEXTCAT = {
    "cats_score": 1.0,
    "cats_score_desc": None,
    "cats_micro_p": None,
    "cats_micro_r": None,
    "cats_micro_f": None,
    "cats_macro_p": None,
    "cats_macro_r": None,
    "cats_macro_f": None,
    "cats_macro_auc": None,
    "cats_f_per_type": None,
}


class _SoftMixin:
    """Relaxed validation and weights of texts and classes, for both components.

    weight (Optional[str]): None: every text weighs the same. "confidence": text i weighs c_i / mean(c), where c_i is
        how sure the teacher was of it, from 0 to 1; 1 where it did not say, or where a person checked the text. It is
        meant for hard targets (`spacy-distill corpus --hard`): with soft ones the doubt counts twice.
    balance (float): 0: no class weighs more than another. 1: every class weighs the same in total (the weight of class
        k is N / (K n_k), where n_k is the sum of its targets, each times its text's weight). In between: that weight to
        the power of `balance`.
    """

    weight: Optional[str]
    balance: float
    mean_weight: float = 1.0
    class_weights: Any = None
    labels: Any
    model: Any
    name: str

    def _validate_categories(self, examples: Iterable[Example]) -> None:
        for example in examples:
            for label, value in example.reference.cats.items():
                if not 0.0 <= value <= 1.0:
                    raise InputError(
                        f"Category {label!r} has the value {value}; a soft label lies between 0 and 1."
                        f" Text: {example.reference.text[:60]!r}"
                    )

    def _weigh(self, get_examples: Callable[[], Iterable[Example]]) -> None:
        """Set the mean of the texts' weights, and the class weights, from the training data."""
        self.mean_weight = mean_weight((example.reference for example in get_examples()), self.weight, self.name)
        if not self.balance:
            return
        mass = np.zeros(len(self.labels), dtype="float64")
        total = 0
        for example in get_examples():
            total += 1
            targets = np.array([example.reference.cats.get(label, 0.0) for label in self.labels])
            mass += targets * (confidence_weight(example.reference, self.weight) / self.mean_weight)
        self.class_weights = self.model.ops.asarray(class_weights(mass, total, self.balance).astype("float32"))

    def _text_weights(self, examples: Iterable[Example]) -> Any:
        """RETURNS (Floats2d): What each text counts, `(N, 1)`."""
        weights = [[confidence_weight(example.reference, self.weight) / self.mean_weight] for example in examples]
        return self.model.ops.asarray2f(weights)

    def _check_weighed(self) -> None:
        """Warn where training goes on with a component that was loaded: the weights are not saved with it."""
        if self.balance and self.class_weights is None:
            warnings.warn(
                f"{self.name}: training goes on without class weights. `balance` is worked out when a component is"
                " initialized, and one that is sourced is not: train it from its factory, or set balance = 0.",
                stacklevel=2,
            )


class SoftTextCategorizer(_SoftMixin, TextCategorizer):
    """`textcat` with soft targets. A text's weight is its target's expected class weight."""

    # spaCy checks the settings under `[initialize.components]` against these arguments: they must be spelled out.
    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Optional[Language] = None,
        labels: Optional[Iterable[str]] = None,
        positive_label: Optional[str] = None,
    ) -> None:
        super().initialize(get_examples, nlp=nlp, labels=labels, positive_label=positive_label)
        self._weigh(get_examples)

    def get_loss(self, examples: Iterable[Example], scores: Any) -> Any:
        self._check_weighed()
        loss, d_scores = super().get_loss(examples, scores)
        if self.weight is not None:
            d_scores *= self._text_weights(examples)
        if self.class_weights is not None:
            truths, _ = self._examples_to_truth(examples)
            d_scores *= (truths @ self.class_weights).reshape(-1, 1)
        return loss, d_scores


class SoftMultiLabelTextCategorizer(_SoftMixin, MultiLabel_TextCategorizer):
    """`textcat_multilabel` with soft targets. Positive targets weigh by their class.

    finds_threshold (bool): Each evaluation chooses the threshold on its texts, for what is saved after it: dev's, while
        `spacy train` trains. Once loaded from there, it stays.
    """

    finds_threshold: bool
    _settings: Dict[str, Any]

    def initialize(  # type: ignore[override]
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Optional[Language] = None,
        labels: Optional[Iterable[str]] = None,
    ) -> None:
        super().initialize(get_examples, nlp=nlp, labels=labels)
        self._weigh(get_examples)
        self._settings = {} if nlp is None else cast(Dict[str, Any], nlp.get_pipe_config(self.name))
        self._settings["threshold"] = self.cfg["threshold"]  # spaCy's own component, which may load it, wants a number

    def score(self, examples: Iterable[Example], **kwargs: Any) -> Dict[str, Any]:
        examples = list(examples)
        if self.finds_threshold and examples:
            scores = [[example.predicted.cats[label] for label in self.labels] for example in examples]
            targets = [[example.reference.cats.get(label, np.nan) for label in self.labels] for example in examples]
            found = best_threshold(np.array(scores), np.array(targets))
            self.cfg["threshold"] = self._settings["threshold"] = found
        scored: Dict[str, Any] = super().score(examples, **kwargs)
        return scored

    def get_loss(self, examples: Iterable[Example], scores: Any) -> Any:
        self._check_weighed()
        loss, d_scores = super().get_loss(examples, scores)
        if self.weight is not None:
            d_scores *= self._text_weights(examples)
        if self.class_weights is not None:
            truths, _ = self._examples_to_truth(examples)
            d_scores *= 1.0 + truths * (self.class_weights - 1.0)
        return loss, d_scores


@Language.factory(
    "soft_textcat",
    assigns=["doc.cats"],
    default_config={
        "threshold": 0.0,
        "model": DEFAULT_SINGLE_TEXTCAT_MODEL,
        "scorer": {"@scorers": "spacy.textcat_scorer.v2"},
        "weight": None,
        "balance": 0.0,
    },
    default_score_weights=SCORES_TEXTCAT,
)
def make_soft_textcat(
    nlp: Language,
    name: str,
    model: Model[Any, Any],
    threshold: float,
    scorer: Optional[Callable[..., Dict[str, Any]]],
    weight: Optional[Literal["confidence"]],
    balance: float,
) -> SoftTextCategorizer:
    """Make a `soft_textcat`: `textcat`'s own settings, and `weight` and `balance` (see `_SoftMixin`)."""
    component = SoftTextCategorizer(nlp.vocab, model, name, threshold=threshold, scorer=scorer)
    component.weight, component.balance = weight, balance
    return component


@Language.factory(
    "soft_textcat_multilabel",
    assigns=["doc.cats"],
    default_config={
        "threshold": None,
        "model": DEFAULT_MULTI_TEXTCAT_MODEL,
        "scorer": {"@scorers": "spacy.textcat_multilabel_scorer.v2"},
        "weight": None,
        "balance": 0.0,
    },
    default_score_weights=SCORES_TEXTCAT,
)
def make_soft_textcat_multilabel(
    nlp: Language,
    name: str,
    model: Model[Any, Any],
    threshold: Optional[float],
    scorer: Optional[Callable[..., Dict[str, Any]]],
    weight: Optional[Literal["confidence"]],
    balance: float,
) -> SoftMultiLabelTextCategorizer:
    """Make a `soft_textcat_multilabel`: `textcat_multilabel`'s own settings, and `weight` and `balance` (see
    `_SoftMixin`).

    threshold (Optional[float]): From which score on a class holds. None: that with the best F1 on dev; the saved config
        has it.
    """
    given = 0.5 if threshold is None else threshold
    component = SoftMultiLabelTextCategorizer(nlp.vocab, model, name, threshold=given, scorer=scorer)
    component.finds_threshold, component._settings = threshold is None, {}
    component.weight, component.balance = weight, balance
    return component
