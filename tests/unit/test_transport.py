import pytest

from spacy_distill.teacher.transport import is_loopback, proxy_for


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:11434/v1", True),
        ("http://127.9.9.9/v1", True),
        ("http://[::1]:8080/v1", True),
        ("http://localhost:1234/v1", True),
        ("http://llm.localhost/v1", True),
        ("http://10.0.0.7:8000/v1", False),
        ("https://localhost.example.com/v1", False),
        ("https://api.example.com/v1", False),
    ],
)
def test_which_urls_name_this_machine(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


def test_the_environments_proxy_is_for_others_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.example.com:3128")
    monkeypatch.setenv("no_proxy", "inside.example.com")
    assert proxy_for("https://api.example.com/v1") == "http://proxy.example.com:3128"
    assert proxy_for("https://inside.example.com/v1") is None
    assert proxy_for("http://127.0.0.1:11434/v1") is None
    monkeypatch.delenv("https_proxy")
    assert proxy_for("https://api.example.com/v1") is None
    monkeypatch.setenv("all_proxy", "socks5://other.example.com:1080")
    assert proxy_for("https://api.example.com/v1") == "socks5://other.example.com:1080"
    assert proxy_for("http://localhost:11434/v1") is None
