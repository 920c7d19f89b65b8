import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.source.location import (
    SourceConfigError,
    Transport,
    checked_branch,
    checked_sub_path,
    parse_location,
)


@pytest.mark.parametrize(
    ("url", "transport", "given_to_git"),
    [
        ("/srv/state.git", Transport.FILE, "file:///srv/state.git"),
        ("/srv/with space%41", Transport.FILE, "file:///srv/with%20space%2541"),
        ("file:///srv/state.git", Transport.FILE, "file:///srv/state.git"),
        ("ssh://git@host.example:2222/team/state.git", Transport.SSH, None),
        ("ssh://10.0.0.1/~git/state.git", Transport.SSH, None),
        ("ssh://git@[fd00::1]:22/state.git", Transport.SSH, None),
        ("git@host.example:team/state.git", Transport.SSH, None),
        ("git@[fd00::1]:state.git", Transport.SSH, None),
        ("https://host.example/team/state.git", Transport.HTTPS, None),
        ("https://host.example:8443/team/state.git", Transport.HTTPS, None),
    ],
)
def test_the_usual_addresses_are_understood(url: str, transport: Transport, given_to_git: str | None) -> None:
    location = parse_location(url)
    assert (location.transport, location.url) == (transport, given_to_git or url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "relative/path.git",
        "./state.git",
        "C:\\state",
        "--upload-pack=touch /tmp/p",
        "-oProxyCommand=touch /tmp/p",
        'ext::sh -c "touch /tmp/p"',
        "fd::7",
        "file::/x",
        "ext::ssh://host/x",
        "git@ext::host:path",
        "git@host::path",
        "git://host/state.git",
        "ftp://host/state.git",
        "http://host/state.git",
        "HTTPS://host/state.git",
        "ssh://-oProxyCommand=touch/x",
        "ssh://git@-oProxyCommand=x/state.git",
        "-oProxyCommand=x@host:path",
        "git@-oProxyCommand=x:path",
        "git@host:-path",
        "git@host:a/../b",
        "git@host:$(touch p)",
        "git@host:a b",
        "ssh://git@host/../../etc",
        "ssh://git@host/a;touch",
        "ssh://git@host:0/x",
        "ssh://git@host:65536/x",
        "ssh://git@host:22x/x",
        "ssh://git:secret@host/x",
        "ssh:///x",
        "ssh://git@/x",
        "https://user:secret@host/x",
        "https://secret@host/x",
        "https://@host/x",
        "https://host/x?token=secret",
        "https://host/x#secret",
        "https://[host/x",
        "https://user:tok@host/%0ahost=evil",
        "https://host/%0ahost=evil",
        "https://host/%00",
        "https://host/a\nhost=evil",
        "https://host/\u202egit",
        "https://hоst.example/x",  # a Cyrillic o
        "/srv/../etc",
        "/srv/a\tb",
        "file://host/srv/x",
        "file:///srv/%2e%2e/x",
        "file:///srv/x?y",
        "/" + "x" * 3000,
    ],
)
def test_every_other_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SourceConfigError) as refused:
        parse_location(url)
    assert "secret" not in str(refused.value)
    assert "tok@" not in str(refused.value)


def test_plain_http_needs_a_setting_of_its_own() -> None:
    assert parse_location("http://127.0.0.1:8080/x.git", allow_http=True).transport is Transport.HTTP


@given(st.text(max_size=60))
def test_no_text_makes_parsing_fail_in_another_way(text: str) -> None:
    for url in (text, f"/{text}", f"ssh://{text}", f"https://{text}", f"file://{text}", f"git@{text}"):
        try:
            location = parse_location(url)
        except SourceConfigError:
            continue
        assert location.url.isprintable()
        assert not location.url.startswith("-")
        assert location.url.startswith(("file:///", "ssh://", "https://", "git@"))


@pytest.mark.parametrize("name", ["main", "release/2026.1", "feature_x+y", "a"])
def test_plain_branch_names_are_taken(name: str) -> None:
    assert checked_branch(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", "--upload-pack=touch /tmp/p;", "--output=/x", "-x", "a..b", "a//b", "/a", "a/", "a.lock", "a/.b", "a.",
        "@", "a@{1}", "a^", "a~1", "a:b", "a b", "a\n", "a\x00", "ä", "*", "refs\\heads", "x" * 300, "a/b.lock/c",
    ],
)  # fmt: skip
def test_branch_names_that_git_could_misread_are_refused(name: str) -> None:
    with pytest.raises(SourceConfigError):
        checked_branch(name)


@pytest.mark.parametrize(
    ("path", "taken"), [("", ""), (".", ""), ("a/b/", "a/b"), ("a/./b", "a/b"), ("x y", "x y")]
)
def test_a_sub_path_is_a_relative_folder(path: str, taken: str) -> None:
    assert checked_sub_path(path) == taken


@pytest.mark.parametrize("path", ["/a", "../a", "a/../../b", ".git", "a/.hidden", "-a", "a\nb", "a\\b", "a\x00"])
def test_a_sub_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(SourceConfigError):
        checked_sub_path(path)
