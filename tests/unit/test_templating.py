"""Templates are cut around the text, which never passes through Jinja."""

import pytest

from spacy_distill.errors import ConfigError
from spacy_distill.tasks.templating import Template, read_examples


def cut(tmp_path, source, **variables):
    path = tmp_path / "mine.jinja"
    path.write_bytes(source if isinstance(source, bytes) else source.encode("utf8"))
    return Template(str(path), {}).cut(variables)


def test_the_text_stands_between_prefix_and_suffix(tmp_path):
    assert cut(tmp_path, "Review: {{ text }}\nOverall, the product is\n") == ("Review: ", "\nOverall, the product is")
    assert cut(tmp_path, "{% if big %}\nBig\n{% endif %}\n{{ text }}", big=True) == ("Big\n", "")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no place", "has 0 places for the text"),
        ("{{ text }} and {{ text }}", "has 2 places for the text"),
        ("{{ text | upper }}", "has 0 places"),
        ("{{ text | e }}", "has 0 places"),
        ("one\n{{ text }}\n{% if %}", ":3 cannot be rendered"),
        ("{{ text }} {{ txet }}", "'txet' is undefined.*may use: noun, text"),
        ("{{ text }}{{ ''.__class__.__mro__ }}", "cannot be rendered"),
        (b"\xff{{ text }}", "is not UTF-8"),
    ],
)
def test_a_template_that_cannot_work_is_refused(tmp_path, source, message):
    with pytest.raises(ConfigError, match=message):
        cut(tmp_path, source, noun="Text")


def test_an_unknown_template_names_the_built_in_ones():
    with pytest.raises(ConfigError, match="'nonsense' is neither a file nor one of 'instruct'"):
        Template("nonsense", {"instruct": "textcat_instruct.jinja"})


def test_examples_know_where_they_stand(tmp_path):
    path = tmp_path / "shots.jsonl"
    path.write_text('{"text": "a", "label": "x"}\n\n{"text": "b", "label": "y"}\n')
    assert [where for where, _ in read_examples(str(path))] == [f"{path}:1", f"{path}:3"]
    assert read_examples([{"text": "a"}]) == [("Example 1", {"text": "a"})]
    assert read_examples(None) == []
