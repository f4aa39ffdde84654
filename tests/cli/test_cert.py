"""`hegemon cert`: an authority and certificates that work at once, and cannot be lost or shown by accident."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hegemon.auth.certificates import CertificateError, Pair, issue, make_authority, read_certificates
from tests.cli.conftest import Run

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def directory(bare_run: Run, tmp_path: Path) -> Path:
    """Where an authority has been made."""
    made = bare_run("cert", "ca", "--dir", str(tmp_path / "certs"))
    assert (made.code, made.out) == (0, f"{tmp_path}/certs/ca.pem\n")
    return tmp_path / "certs"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(certificate: Path) -> tuple[str, ...]:
    return read_certificates(certificate.read_bytes())[0].names


def shakes_hands(directory: Path, node: str, host: str) -> bool:
    """Whether a client that trusts the directory's authority believes this node to be `host`."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory / f"{node}.pem", directory / f"{node}-key.pem")
    trusting = ssl.create_default_context(cafile=directory / "ca.pem")
    # As Python 3.13 and Go check by default.
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = trusting.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError:
                return False
    return ours.version() == "TLSv1.3"


def test_a_node_is_believed_under_its_hosts_and_under_no_other(bare_run: Run, directory: Path) -> None:
    made = bare_run("cert", "node", "n1", "--host", "n1.example.com", "--host", "10.0.0.5", "--dir", str(directory))
    assert (made.code, made.out) == (0, f"{directory}/n1.pem\n")
    for line in ("TLS_ENABLED=true", f"TLS_CERT_FILE={directory}/n1.pem", f"TLS_KEY_FILE={directory}/n1-key.pem"):
        assert line in made.err
    assert shakes_hands(directory, "n1", "n1.example.com")
    assert shakes_hands(directory, "n1", "10.0.0.5")
    assert not shakes_hands(directory, "n1", "n2.example.com")
    assert not shakes_hands(directory, "n1", "127.0.0.1")


def test_without_a_host_a_node_is_believed_on_this_machine(bare_run: Run, directory: Path) -> None:
    bare_run("cert", "node", "n1", "--dir", str(directory))
    for host in ("localhost", "127.0.0.1", "::1"):
        assert shakes_hands(directory, "n1", host)


def test_keys_are_for_their_owner_alone_and_not_shown(bare_run: Run, directory: Path) -> None:
    made = bare_run("cert", "node", "n1", "--dir", str(directory))
    assert [mode(directory / name) for name in ("ca-key.pem", "n1-key.pem")] == [0o600, 0o600]
    assert mode(directory) == 0o700
    assert "PRIVATE KEY" not in made.out + made.err
    assert b"PRIVATE" not in (directory / "n1.pem").read_bytes()
    assert sorted(path.name for path in directory.iterdir()) == ["ca-key.pem", "ca.pem", "n1-key.pem", "n1.pem"]


def test_what_is_there_is_replaced_only_on_request(bare_run: Run, directory: Path) -> None:
    bare_run("cert", "node", "n1", "--dir", str(directory))
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    again = bare_run("cert", "ca", "--dir", str(directory))
    assert (again.code, "--force replaces it" in again.err) == (4, True)
    again = bare_run("cert", "node", "n1", "--dir", str(directory))
    assert (again.code, "--renew replaces it" in again.err) == (4, True)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert bare_run("cert", "ca", "--force", "--dir", str(directory)).code == 0
    assert (directory / "ca.pem").read_bytes() != before["ca.pem"]


def test_a_renewal_keeps_the_hosts_and_changes_key_and_certificate(bare_run: Run, directory: Path) -> None:
    bare_run("cert", "node", "n1", "--host", "a.example.com", "--host", "::1", "--dir", str(directory))
    before = (directory / "n1.pem").read_bytes(), (directory / "n1-key.pem").read_bytes()
    assert bare_run("cert", "node", "n1", "--renew", "--dir", str(directory)).code == 0
    assert names(directory / "n1.pem") == ("a.example.com", "::1")
    assert (directory / "n1.pem").read_bytes() != before[0]
    assert (directory / "n1-key.pem").read_bytes() != before[1]
    assert shakes_hands(directory, "n1", "a.example.com")
    absent = bare_run("cert", "node", "n2", "--renew", "--dir", str(directory))
    assert (absent.code, "to renew" in absent.err) == (3, True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("node", "n1"), "Make an authority first: hegemon cert ca."),
        (("node", "../n1"), "NAME becomes a file's name"),
        (("node", "ca"), "it cannot be ca"),
        (("show", "absent.pem"), "Cannot read absent.pem: No such file"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    bare_run: Run, tmp_path: Path, line: tuple[str, ...], words: str
) -> None:
    place = ("--dir", str(tmp_path)) if line[0] == "node" else ()
    ended = bare_run("cert", *line, *place)
    assert ended.code in (2, 3)
    assert words in ended.err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["a b", "", "-a.example.com", "a..b", "http://a"])
def test_a_host_that_is_none_is_refused(bare_run: Run, directory: Path, host: str) -> None:
    ended = bare_run("cert", "node", "n1", "--host", host, "--dir", str(directory))
    assert (ended.code, "neither a host name nor an IP address" in ended.err) == (2, True)
    assert not (directory / "n1.pem").exists()


def test_show_tells_for_whom_by_whom_and_until_when(bare_run: Run, directory: Path) -> None:
    bare_run("cert", "node", "n1", "--host", "a.example.com", "--days", "30", "--dir", str(directory))
    (facts,) = bare_run("cert", "show", str(directory / "n1.pem"), "--json").json
    assert facts["subject"] == "CN=n1"
    assert facts["issuer"] == "CN=Hegemon development CA"
    assert facts["names"] == ["a.example.com"]
    assert (facts["authority"], facts["key"], facts["valid"]) == (False, "EC secp256r1", True)
    assert 29 < facts["days_left"] <= 30
    text = bare_run("cert", "show", str(directory / "n1.pem")).out
    assert "CN=n1" in text
    assert "a.example.com" in text
    assert bare_run("cert", "show", str(directory / "ca.pem"), "--json").json[0]["authority"] is True
    wrong = bare_run("cert", "show", str(directory / "n1-key.pem"))
    assert (wrong.code, "no certificate in PEM form" in wrong.err) == (2, True)


def test_a_certificate_never_outlives_its_authority() -> None:
    authority = make_authority("ca", now=NOW, days=10)
    (made,) = read_certificates(issue(authority, name="n", hosts=["h"], now=NOW, days=90).certificate)
    assert made.not_after == NOW + timedelta(days=10)
    with pytest.raises(CertificateError, match="the authority ended on 2030-01-11"):
        issue(authority, name="n", hosts=["h"], now=NOW + timedelta(days=11))


def test_only_an_authority_with_its_own_key_signs() -> None:
    authority, other = make_authority("ca", now=NOW), make_authority("other", now=NOW)
    node = issue(authority, name="n", hosts=["h"], now=NOW)
    for signer, words in ((node, "no authority's"), (Pair(authority.certificate, other.key), "does not belong")):
        with pytest.raises(CertificateError, match=words):
            issue(signer, name="m", hosts=["h"], now=NOW)
    with pytest.raises(CertificateError, match="at least one host"):
        issue(authority, name="n", hosts=[], now=NOW)
    assert "PRIVATE" not in repr(node)
