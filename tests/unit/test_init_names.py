"""What `init` makes of a folder's name has to please `release` an hour later."""

from __future__ import annotations

import pytest

from spacy_distill.cli.init import package_name
from spacy_distill.release.package import check_name


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("tickets", "tickets"),
        ("2024-tickets", "student_2024_tickets"),
        ("A  b--c_", "a_b_c"),
        ("Größe", "gr_e"),
        ("日本", "student"),
    ],
)
def test_every_folder_gives_an_installable_name(folder: str, name: str) -> None:
    assert package_name(folder) == name
    assert check_name(name, "en") == name
