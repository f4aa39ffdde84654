"""What a local cluster with logins and TLS decides before anything starts: its secrets, its certificate, its admin."""

from dataclasses import replace
from pathlib import Path

import pytest

from hegemon.auth.certificates import read_certificates
from hegemon.auth.roles import Role
from hegemon.cluster.local_directory import LocalDirectory
from hegemon.cluster.local_node import NodeProcess
from hegemon.cluster.local_plan import Home, LocalError, make_plan
from hegemon.cluster.local_security import secured
from hegemon.cluster.settings import load
from tests.nodes import free_port

SECRET = "5f0c3b9d2e7a4816b0d9c1f3a58e6274"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(tmp_path)
    return Home(tmp_path, "s" * 64, {})


def test_a_secured_environment_is_one_that_a_node_accepts(home: Home) -> None:
    environ, authority = secured({}, home)
    settings = load(environ, None)
    assert settings.auth.auth_enabled
    assert settings.tls.tls_enabled
    assert settings.audit.audit_key is not None
    assert authority == home.path / "ca.pem"
    assert (home.path / "node-key.pem").stat().st_mode & 0o077 == 0
    assert secured({}, home)[0] == environ  # the second start signs with the same keys
    assert secured({}, replace(home, secret="t" * 64))[0]["JWT_SECRET"] != environ["JWT_SECRET"]


@pytest.mark.parametrize(("host", "name"), [("192.0.2.7", "192.0.2.7"), ("jobs.example.com", "jobs.example.com")])
def test_the_certificate_is_for_the_host_that_it_listens_on_too(host: str, name: str, home: Home) -> None:
    secured({"SERVER_HOST": host}, home)
    [certificate] = read_certificates((home.path / "node.pem").read_bytes())
    assert {"localhost", "127.0.0.1", "::1", name} <= set(certificate.names)


@pytest.mark.parametrize("place", ["environment", "file"])
def test_what_was_said_stays_wherever_it_was_said(place: str, home: Home) -> None:
    said = {"JWT_SECRET": SECRET, "AUDIT_KEY": SECRET, "TLS_CERT_FILE": "mine.pem", "TLS_KEY_FILE": "mine.key"}
    (home.path / ".env").write_text("".join(f"{name}={text}\n" for name, text in said.items() if place == "file"))
    environ, authority = secured(said if place == "environment" else {}, home)
    assert authority is None
    assert {name: text for name, text in environ.items() if name in said} == (said if place == "environment" else {})


def test_a_plan_says_whether_credentials_are_wanted_and_whether_the_admin_has_a_password(home: Home) -> None:
    guarded = {"AUTH_ENABLED": "true", "JWT_SECRET": SECRET}
    plan = make_plan(guarded, home, port=free_port())
    assert (plan.guarded, plan.admin_unset) == (True, True)
    told = plan.telling({"ADMIN_PASSWORD": "a bridge of nine arches"})
    assert [node.environment["ADMIN_PASSWORD"] for node in told.nodes] == ["a bridge of nine arches"]
    for more in ({"ADMIN_PASSWORD": "a bridge of nine arches"}, {"DEMO_USERS": "true"}):
        plan = make_plan({**guarded, **more}, home, port=free_port())
        assert (plan.guarded, plan.admin_unset) == (True, False)
    plan = make_plan({}, home, port=free_port())
    assert (plan.guarded, plan.admin_unset) == (False, False)


def test_a_node_is_looked_at_with_a_token_of_its_own_wherever_the_key_was_said(home: Home) -> None:
    (home.path / ".env").write_text(f"AUTH_ENABLED=true\nJWT_SECRET={SECRET}\nCLUSTER_ID=shop\n")
    [node] = make_plan({}, home, port=free_port()).nodes
    assert node.tokens is not None
    header = NodeProcess(node, home.path / "log").headers(Role.WORKER)["authorization"]
    claims = node.tokens.verify(header.removeprefix("Bearer ").encode())
    assert (claims.principal.id, claims.principal.role) == ("service:up", Role.WORKER)
    assert node.tokens.issuer == "hegemon:shop"
    assert SECRET not in repr(node)
    (home.path / ".env").unlink()
    [node] = make_plan({}, home, port=free_port()).nodes
    assert NodeProcess(node, home.path / "log").headers() == {}


def test_nodes_that_want_a_certificate_are_not_started_without_one_to_look_at_them(home: Home) -> None:
    environ, authority = secured({"TLS_CLIENT_AUTH": "required", "TLS_CLIENT_CA_FILE": str(home.path / "ca.pem")}, home)
    with pytest.raises(LocalError, match="HEGEMON_CLIENT_CERT"):
        make_plan(environ, home, port=free_port())
    [node] = make_plan({**environ, "HEGEMON_CLIENT_CERT": str(authority)}, home, port=free_port()).nodes
    with pytest.raises(LocalError, match="cannot be used"):  # an authority's file holds no key
        NodeProcess(node, home.path / "log").client()


def test_the_password_of_the_first_admin_is_the_same_until_it_was_shown_and_then_it_is_gone(tmp_path: Path) -> None:
    place = tmp_path / "data"
    with LocalDirectory.open(place) as directory:
        first = directory.admin_password()
        assert first is not None
        assert len(first) >= 12
        assert (place / "admin-password").stat().st_mode & 0o777 == 0o600
    with LocalDirectory.open(place) as directory:  # the start before failed
        assert directory.admin_password() == first
        directory.admin_shown()
        assert directory.admin_password() is None
    assert first.encode() not in b"".join(file.read_bytes() for file in place.rglob("*") if file.is_file())
    with LocalDirectory.open(place) as directory:
        assert directory.admin_password() is None
