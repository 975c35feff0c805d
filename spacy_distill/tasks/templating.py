"""Prompt templates: rendered once around a placeholder and cut there, so that no text ever passes through Jinja."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from ..errors import ConfigError
from ..records import read_records

FOLDER = Path(__file__).parent / "templates"


class Template:
    """A prompt's template, read and compiled once.

    template (str): One of the built-in names, or the path of a Jinja file that uses `{{ text }}` exactly once.
    built_in (Mapping[str, str]): Name to file name in this package's `templates` folder.
    RAISES (ConfigError): No such template, or one that cannot be compiled.
    """

    def __init__(self, template: str, built_in: Mapping[str, str]) -> None:
        self.path = FOLDER / built_in[template] if template in built_in else Path(template)
        if not self.path.is_file():
            names = ", ".join(map(repr, built_in))
            raise ConfigError(f"The template {template!r} is neither a file nor one of {names}. Mend `template`.")
        environment = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        try:
            self._compiled = environment.from_string(self.path.read_text(encoding="utf8"))
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"The template {self.path} is not UTF-8 (byte {error.start}). Convert it first."
            ) from error
        except TemplateError as error:
            raise self._broken(error) from error

    def cut(self, variables: Mapping[str, Any]) -> tuple[str, str]:
        """Render the template around the place where the text goes.

        variables (Mapping[str, Any]): What the template may use besides `text`.
        RETURNS (Tuple[str, str]): What stands before the text, and what stands after it.
        RAISES (ConfigError): It cannot be rendered, or has not exactly one place for the text.
        """
        placeholder = f"<{secrets.token_hex(16)}>"
        try:
            rendered = self._compiled.render(**variables, text=placeholder)
        except TemplateError as error:
            raise self._broken(error, f" It may use: {', '.join(sorted([*variables, 'text']))}.") from error
        parts = rendered.split(placeholder)
        if len(parts) != 2:
            raise ConfigError(
                f"The template {self.path} has {len(parts) - 1} places for the text, expected 1."
                " Write {{ text }} exactly once, without filters."
            )
        return parts[0], parts[1]

    def _broken(self, error: TemplateError, hint: str = "") -> ConfigError:
        where = f":{lineno}" if (lineno := getattr(error, "lineno", None)) else ""
        return ConfigError(f"The template {self.path}{where} cannot be rendered ({error}).{hint}")


def read_examples(examples: str | Sequence[Mapping[str, Any]] | None) -> list[tuple[str, Mapping[str, Any]]]:
    """RETURNS (List[Tuple[str, Mapping[str, Any]]]): Few-shot examples, given in place or as a file's path, each with
    where it stands."""
    if isinstance(examples, str):
        return list(read_records(Path(examples)))
    return [(f"Example {number}", record) for number, record in enumerate(examples or (), 1)]
