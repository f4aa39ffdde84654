"""The settings of identities, TLS and encryption: what is refused, and in which words."""

import base64
from pathlib import Path

import pytest

from hegemon.cluster.settings import SettingsError, load

STRONG = "d1f6a9c07b3e58c24f90ab67de135872"


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(environ, None)
    return caught.value.problems


@pytest.mark.parametrize(
    ("environ", "hint"),
    [
        ({"AUTH_ENABLED": "true"}, "AUTH_ENABLED needs JWT_SECRET"),
        ({"AUTH_ENABLED": "true", "JWT_SECRET": "a" * 40}, "JWT_SECRET "),
        ({"JWT_SECRET_OTHER": STRONG}, "JWT_SECRET_OTHER needs JWT_SECRET"),
        ({"JWT_PUBLIC_KEY_FILES": "/x.pem"}, "JWT_PUBLIC_KEY_FILES needs JWT_PRIVATE_KEY_FILE"),
        ({"JWT_ISSUER_URL": "https://login.example.com"}, "JWT_ISSUER_URL needs JWT_AUDIENCE"),
        ({"JWT_JWKS_URL": "https://login.example.com/keys"}, "JWT_JWKS_URL needs JWT_ISSUER_URL"),
        ({"JWT_PRIVATE_KEY_FILE": "/nowhere/key.pem"}, "JWT_PRIVATE_KEY_FILE: /nowhere/key.pem cannot be read"),
        ({"ACCESS_TOKEN_TTL": "2h"}, "must be a duration from 1m to 1h"),
        ({"REFRESH_TOKEN_TTL": "10m"}, "REFRESH_TOKEN_TTL must be longer than ACCESS_TOKEN_TTL"),
        ({"ADMIN_PASSWORD": "short"}, "ADMIN_PASSWORD: "),
        ({"DEMO_USERS": "maybe"}, "must be true or false"),
        ({"TRUSTED_PROXIES": "0.0.0.0/0"}, "must not trust every address"),
        ({"RATE_LIMIT_PER_ADDRESS": "fast"}, "must be requests per s, m or h such as 100/s"),
        ({"CORS_ORIGINS": "https://jobs.example.com/"}, "must be origins separated by commas"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(environ: dict[str, str], hint: str) -> None:
    (problem,) = problems(environ)
    assert f": {hint}" in problem
    assert STRONG not in problem


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://login.example.com/realm", True),
        ("http://127.0.0.1:8081/realm", True),
        ("http://localhost", True),
        ("http://[::1]:8081/", True),
        ("http://login.example.com", False),
        # It begins like this machine, and is another one.
        ("http://localhost:1@elsewhere.example.com", False),
        ("http://localhost.elsewhere.example.com", False),
        ("http://[::::]:80/", False),
    ],
)
def test_an_issuer_is_asked_in_the_clear_on_this_machine_only(url: str, taken: bool) -> None:
    environ = {"JWT_ISSUER_URL": url, "JWT_AUDIENCE": "jobs"}
    if taken:
        assert load(environ, None).auth.jwt_issuer_url == url
    else:
        (problem,) = problems(environ)
        assert "JWT_ISSUER_URL must begin with https:// unless it is on this machine" in problem


def test_where_others_reach_a_node_it_wants_credentials_has_no_demo_users_and_speaks_tls_or_its_proxy_does(
    tmp_path: Path,
) -> None:
    beyond = {"SERVER_HOST": "0.0.0.0", "AUTH_ENABLED": "true", "JWT_SECRET": STRONG}  # noqa: S104
    proxied = {**beyond, "TRUSTED_PROXIES": "10.0.0.1"}
    load(proxied, None)
    (problem,) = problems({**proxied, "DEMO_USERS": "true"})
    assert "SERVER_HOST must be loopback" in problem
    (problem,) = problems({**proxied, "AUTH_ENABLED": "false"})
    assert "without authentication SERVER_HOST must be loopback" in problem
    (problem,) = problems(beyond)
    assert "SERVER_HOST=0.0.0.0, TLS_ENABLED=false: without TLS" in problem
    file = tmp_path / "any.pem"
    file.touch()
    load({**beyond, "TLS_ENABLED": "true", "TLS_CERT_FILE": str(file), "TLS_KEY_FILE": str(file)}, None)
    load({**beyond, "SERVER_HOST": "127.0.0.1"}, None)


def test_tls_needs_files_that_exist(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.touch()
    environ = {"TLS_ENABLED": "true", "TLS_CERT_FILE": str(cert), "TLS_KEY_FILE": str(key)}
    assert problems(environ) == (
        f"TLS_KEY_FILE={key}: TLS_KEY_FILE must be the path of a file that exists and can be read.",
    )
    key.touch()
    assert load(environ, None).tls.tls_key_file == key


def test_keys_that_encrypt_payloads_are_checked_and_never_shown() -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    settings = load({"PAYLOAD_ENCRYPTION_KEYS": f"k1:{key}"}, None)
    assert key not in repr(settings)
    assert settings.public()["PAYLOAD_ENCRYPTION_KEYS"] == "********"
    (problem,) = problems({"PAYLOAD_ENCRYPTION_KEYS": f"{key}"})
    assert "must be ID:KEY separated by commas" in problem
    assert key not in problem


def test_the_files_of_a_stores_tls_go_with_a_url_of_its_tls(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    for url in ({"REDIS_URL": "redis://h"}, {}):
        (problem,) = problems({"REDIS_TLS_CA_FILE": str(ca), **url})
        assert "REDIS_TLS_CA_FILE needs a REDIS_URL that begins with rediss://" in problem
    (problem,) = problems({"MONGODB_TLS_CA_FILE": str(tmp_path / "absent.pem")})
    assert "MONGODB_TLS_CA_FILE must be the path of a file that exists" in problem
    secured = {"REDIS_URL": "rediss://h", "REDIS_TLS_CERT_FILE": str(ca)}
    assert "REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE go together" in problems(secured)[0]
