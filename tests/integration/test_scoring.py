"""Scoring and writing with small random models of several kinds, against the plain forward pass of the whole prompt."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_model import save_model  # noqa: E402

from spacy_distill.errors import TeacherError  # noqa: E402
from spacy_distill.teacher.packing import Tree  # noqa: E402
from spacy_distill.teacher.scoring import CausalModel  # noqa: E402
from spacy_distill.teacher.types import Prompt  # noqa: E402
from spacy_distill.teacher.weights import find, identity, load, read_gguf_once  # noqa: E402
from spacy_distill.teacher.writing import write  # noqa: E402

pytestmark = pytest.mark.local

PREFIX = "Say whether the tea is good or bad.\n\nTea: fine leaf\nVerdict: very good\n\nTea: "
SUFFIX = "\nVerdict:"
CHOICES = {"good": " very good", "bad": " very bad", "neither": " neither", "unknown": " quite zebra-striped 🍵"}
TEXTS = ["fresh green leaf", "", "stale", "a dusty flat bag " * 6, "naïve 🍵 tea\n", "\n\nlines", " spaces  "]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Models by kind, each made, saved and loaded once."""
    made = {}

    def get(kind="llama", bos=False):
        if (kind, bos) not in made:
            folder = save_model(tmp_path_factory.mktemp("model"), kind, bos)
            made[kind, bos] = CausalModel(*load(str(folder), "cpu", 1))
        return made[kind, bos]

    return get


def shared(one, other):
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def naive(model, prompt):
    """The log-probability of what each label adds to the tokenized prompt, from a plain forward pass."""
    found = {}
    for label, wording in prompt.choices.items():
        whole = model.tokenizer(prompt + wording)["input_ids"]
        wholes = [model.tokenizer(prompt + other)["input_ids"] for other in prompt.choices.values()]
        bare = model.tokenizer(str(prompt))["input_ids"]
        same = min(shared(bare, other) for other in wholes)
        if same == 0:
            whole, same = [0, *whole], 1
        with torch.inference_mode():
            logprobs = model.model(torch.tensor([whole])).logits[0].log_softmax(-1)
        found[label] = sum(logprobs[i - 1, whole[i]].item() for i in range(same, len(whole)))
    return found


def prompts(texts=TEXTS, prefix=PREFIX, suffix=SUFFIX, choices=CHOICES):
    return [Prompt(text, prefix=prefix, suffix=suffix, choices=choices) for text in texts]


FRAMES = {
    "usual": {},
    "no prefix": {"prefix": ""},
    "no suffix": {"suffix": ""},
    "bare": {"prefix": "", "suffix": ""},
    "space before the answer": {"suffix": "\nVerdict: ", "choices": {"good": "good", "bad": "bad and worse"}},
    "JSON": {"suffix": "\n", "choices": {"good": '{"verdict": "good"}', "bad": '{"verdict": "bad"}'}},
    "one token each": {"choices": {"good": " good", "bad": " bad"}},
}


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("frame", FRAMES)
def test_scores_are_those_of_the_whole_prompt(loaded, frame, bos):
    model = loaded(bos=bos)
    asked = prompts(**FRAMES[frame])
    for prompt, scored in zip(asked, model.score(asked), strict=True):
        assert scored.logprobs == pytest.approx(naive(model, prompt), abs=1e-3), prompt
        assert scored.unread_chars == 0


@pytest.mark.parametrize("kind", ["gpt2", "mistral", "gemma2"])
def test_other_kinds_of_model_score_alike(loaded, kind):
    model = loaded(kind)
    asked = prompts()
    for prompt, scored in zip(asked, model.score(asked), strict=True):
        assert scored.logprobs == pytest.approx(naive(model, prompt), abs=1e-3), prompt


def test_texts_in_a_pack_do_not_see_each_other(loaded):
    model = loaded()
    asked = prompts()
    alone = [model.score([prompt])[0].logprobs for prompt in asked]
    together = [scored.logprobs for scored in model.score(asked)]
    turned = [scored.logprobs for scored in model.score(asked[::-1])][::-1]
    for one, other, third in zip(alone, together, turned, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
        assert one == pytest.approx(third, abs=1e-4)
    assert len({round(scores["good"], 3) for scores in alone}) == len(asked)  # the text does matter


def test_prompts_of_different_prefixes_come_back_in_order(loaded):
    model = loaded()
    asked = [prompt for pair in zip(prompts(), prompts(prefix="Tea: "), strict=True) for prompt in pair]
    for prompt, scored in zip(asked, model.score(asked), strict=True):
        assert scored.logprobs == pytest.approx(naive(model, prompt), abs=1e-3)


def test_many_prefixes_are_forgotten_again(loaded):
    model = loaded()
    asked = [prompt for i in range(9) for prompt in prompts(["leaf"], prefix=f"{i} tea: ")]
    scores = [scored.logprobs["good"] for scored in model.score(asked * 2)]
    assert scores[:9] == pytest.approx(scores[9:], abs=1e-4)
    assert len(model._prefixes) <= 4


def test_a_long_text_loses_its_middle(loaded):
    model = loaded()
    long = "fresh " + "leaf and more leaf " * 200 + " stale"
    short = {"good": " good", "bad": " bad"}
    (scored,) = model.score(prompts([long], choices=short))
    assert 0 < scored.unread_chars < len(long)
    assert model.window - 20 < scored.prompt_tokens <= model.window
    kept = len(long) - scored.unread_chars
    cut = long[: (kept + 1) // 2] + long[len(long) - kept // 2 :]
    assert scored.logprobs == pytest.approx(naive(model, prompts([cut], choices=short)[0]), abs=1e-3)


def test_a_prompt_too_long_without_its_text_is_refused(loaded):
    with pytest.raises(TeacherError, match=r"takes \d+ tokens without its text.*room for 160"):
        loaded().score(prompts(prefix="an example too many, " * 60))


def test_a_lone_surrogate_is_no_reason_to_stop(loaded):
    (scored,) = loaded().score(prompts(["half an emoji \ud83c here"]))
    assert np.isfinite(list(scored.logprobs.values())).all()


def test_tree_shares_what_labels_share():
    tree = Tree(cached=2)
    first = tree.text([5, 6])
    assert tree.child(first, 7) == tree.child(first, 7)
    second = tree.text([5])
    assert tree.child(second, 7) != tree.child(first, 7)
    assert tree.positions == [2, 3, 4, 2, 3]
    expected = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]]
    assert tree.sees()[:, 2:].astype(int).tolist() == expected
    assert tree.sees()[:, :2].all()
    assert tree.sees(window=2)[2].astype(int).tolist() == [0, 0, 0, 1, 1, 0, 0]


# Writing


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_writing_is_greedy_whatever_is_written_beside_it(loaded, kind):
    model = loaded(kind)
    asked = [Prompt(text) for text in ("Tea: ", "Say whether the tea is good", "", "a " * 30)]
    for prompt, written in zip(asked, write(model, asked, 7), strict=True):
        tokens = model.tokenizer(str(prompt))["input_ids"] or [0]
        size = len(tokens)
        for _ in range(7):
            with torch.inference_mode():
                logprobs = model.model(torch.tensor([tokens])).logits[0, -1].log_softmax(-1)
            best = int(logprobs.argmax())
            if best == 1:
                break
            assert written.tokens[len(tokens) - size][1] == pytest.approx(logprobs[best].item(), abs=1e-3)
            tokens.append(best)
        assert written.text == model.tokenizer.decode(tokens[size:], skip_special_tokens=True)
        assert written.finished == (len(tokens) - size < 7)
        assert written.prompt_tokens == size


def test_writing_uses_the_chat_template(loaded, tmp_path):
    model = CausalModel(*load(str(save_model(tmp_path)), "cpu", 1))
    plain = write(model, [Prompt("tea")], 2)[0]
    model.tokenizer.chat_template = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}bot:"
    chat = write(model, [Prompt("tea")], 2)[0]
    assert chat.prompt_tokens == len(model.tokenizer("<s>user: tea</s>bot:")["input_ids"]) > plain.prompt_tokens


def test_writing_leaves_room_for_the_reply(loaded):
    model = loaded()
    (written,) = write(model, [Prompt("leaf and more leaf " * 200, prefix=PREFIX, suffix=SUFFIX)], 5)
    assert written.prompt_tokens <= model.window - 5
    assert written.unread_chars > 0


# Weights


def test_what_a_name_stands_for(tmp_path):
    gguf = tmp_path / "tiny.gguf"
    gguf.write_bytes(b"12345")
    assert find(str(gguf)) == find(str(tmp_path))
    known = identity(str(gguf))
    assert known == identity(str(tmp_path))
    gguf.write_bytes(gguf.read_bytes()[::-1])  # as long as before
    assert identity(str(gguf)) != known
    assert not find("org/model").local
    assert identity("org/model") == "hub"
    (tmp_path / "other.gguf").write_bytes(b"1")
    with pytest.raises(TeacherError, match=r"several models: name one of other.gguf, tiny.gguf"):
        find(str(tmp_path))


@pytest.mark.parametrize("name", ["./none", "assets/none.gguf", "/no/such/model", "a/b/c"])
def test_a_path_that_is_not_there_is_not_looked_for_online(name):
    with pytest.raises(TeacherError, match="does not exist"):
        load(name, "cpu")


def test_files_that_are_no_model_are_named(tmp_path):
    with pytest.raises(TeacherError, match=r"neither config\.json nor a \.gguf"):
        load(str(tmp_path), "cpu")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TeacherError, match="cannot be loaded"):
        load(str(tmp_path), "cpu")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(TeacherError, match="not a GGUF file"):
        load(str(tmp_path / "notes.txt"), "cpu")


def test_loading_says_nothing(tmp_path, capfd):
    save_model(tmp_path)
    capfd.readouterr()
    load(str(tmp_path), "cpu", 1)
    assert capfd.readouterr() == ("", "")


def test_gguf_files_are_read_as_before_when_one_is_loaded():
    gguf = pytest.importorskip("gguf")
    before = gguf.GGUFReader, gguf.get_tensor_name_map
    with read_gguf_once():
        names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
        assert gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2) is names
        assert names.mapping == before[1](gguf.MODEL_ARCH.LLAMA, 2).mapping
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == before
