"""Which addresses and refs reach git at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimed.hooks.git_address import check_address, check_ref, tidy
from runtimed.hooks.refusals import SourceRefused

ADMITTED = [
    "https://git.example/team/x.git",
    "https://git.example:8443/x",
    "https://token@git.example/x",
    "https://[::1]:443/x",
    "ssh://git.example/x",
    "ssh://git@git.example:2222/team/x.git",
    "git@git.example:team/x.git",
    "git@git.example:~team/x",
]
REFUSED = [
    "",
    "x",
    "/etc",
    "./x",
    "file:///etc",
    "http://git.example/x",
    "git://git.example/x",
    "HTTPS://git.example/x",
    "https://",
    "https:///x",
    "https://git.example",
    "https://git.example/",
    "https://-git.example/x",
    "https://git.example:port/x",
    "https://git.example/x y",
    "https://git.example/x\n--upload-pack=touch",
    "https::https://git.example/x",
    "ext::sh -c touch%20x",
    "ext::sh",
    "--upload-pack=touch /tmp/x",
    "-u",
    "ssh://-oProxyCommand=touch/x",
    "ssh://-oProxyCommand=touch@git.example/x",
    "ssh://user:password@git.example/x",
    "git@-oProxyCommand=touch:x",
    "git@git.example:-x",
    "git@git.example:",
    "root@git.example:x",
    "git@fd::17",
    "fd::17",
    "https://git.example/" + "x" * 2048,
]


@pytest.mark.parametrize("url", ADMITTED)
def test_an_address_of_the_contract_is_passed_on_as_it_came(url: str) -> None:
    assert check_address(url) == url


@pytest.mark.parametrize("url", REFUSED)
def test_any_other_is_refused_naming_the_field_and_the_forms(url: str) -> None:
    with pytest.raises(SourceRefused, match=r"^spec\.source\.repoURL: must be https://HOST/PATH, ssh://") as refused:
        check_address(url)
    assert "password" not in str(refused.value)


@given(st.text(max_size=60))
def test_whatever_is_admitted_begins_like_a_remote_address(url: str) -> None:
    try:
        check_address(url)
    except SourceRefused:
        return
    assert url.startswith(("https://", "ssh://", "git@"))


@pytest.mark.parametrize("ref", ["", "main", "v1.2", "feature/x", "0" * 40, "HEAD~3"])
def test_a_ref_is_passed_on_as_it_came(ref: str) -> None:
    assert check_ref(ref) == ref


@pytest.mark.parametrize("ref", ["-f", "--upload-pack=x", "a b", "a\nb", "x" * 257])
def test_a_ref_that_could_be_an_option_is_refused(ref: str) -> None:
    with pytest.raises(SourceRefused, match=r"^spec\.source\.commitSHA: "):
        check_ref(ref)


def test_what_git_says_becomes_one_line_without_passwords_and_colours() -> None:
    said = "remote: \x1b[31mno\x1b[0m\nfatal: unable to access 'https://me:secret@git.example/x/': 404\n"
    assert tidy(said) == "remote:  [31mno [0m; fatal: unable to access 'https://***@git.example/x/': 404"
