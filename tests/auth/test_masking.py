"""Nothing secret is written: by the name it stands under, by its form, and by its own text."""

import json
import os
import subprocess
import sys

import pytest

from hegemon.auth.masking import MASK, Masker, is_secret
from hegemon.cluster.secret_texts import secret_texts
from hegemon.cluster.settings import all_settings, load

SECRET = 'pa"ss\\wörd/+='
PROGRAM = """
import logging, sys
import structlog
from hegemon.monitoring.logs import Shape, configure
secret = sys.argv[2]
configure(Shape(level="debug", form=sys.argv[1], secrets=[secret]))
log = structlog.get_logger()
log.info("plain", said=f"it is {secret}!", password="hunter2", nested={"jwt_secret": "hunter2", "a": [secret]})
logging.getLogger("other").error("from %s", secret)
try:
    raise ValueError(f"mongodb://me:{secret}@host/")
except ValueError as error:
    log.exception("failed", reason=str(error))
    logging.getLogger("other").exception("failed")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_secret_is_in_no_line_however_it_gets_there(form: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, form, SECRET], capture_output=True, text=True, check=True, env=os.environ
    )
    written = ended.stderr
    for text in (SECRET, json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1], "hunter2"):
        assert text not in written
    assert written.count(MASK) >= 6
    assert "Traceback" in written


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl", f"Authorization: Bearer {MASK}"),
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", f"got {MASK}"),
        ("key hgm_0a1b2c_Zm9vYmFy-_x is gone", f"key {MASK} is gone"),
        ("reused hgr_0a1b2c_00ff00ff", f"reused {MASK}"),
        ("redis://:s3cret@h:6379/0", f"redis://:{MASK}@h:6379/0"),
        ("mongodb://u:p%40ss@a,b/?x=1", f"mongodb://u:{MASK}@a,b/?x=1"),
        ("Basic dXNlcjpwYXNz", f"Basic {MASK}"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----\n", f"{MASK}\n"),
        ("http://127.0.0.1:8080/api/v1/jobs?a=b@c", "http://127.0.0.1:8080/api/v1/jobs?a=b@c"),
        ("bearer of bad news", "bearer of bad news"),
    ],
)
def test_what_looks_like_a_credential_is_masked_and_nothing_else(said: str, shown: str) -> None:
    assert Masker().text(said) == shown


def test_names_that_stand_for_secrets_are_known() -> None:
    secret = ("password", "ADMIN_PASSWORD", "X-API-Key", "authorization", "refresh_token", "Set-Cookie", "jwt_secret")
    assert all(is_secret(name) for name in secret)
    assert not any(is_secret(name) for name in ("token_id", "key_id", "node", "kid", "queue", "url"))


def test_the_secrets_of_the_settings_are_known_to_the_log() -> None:
    environment = {
        "REDIS_URL": "redis://:redis%2Fcanary@127.0.0.1:6379/0",
        "MONGODB_URI": "mongodb://u:mongocanary@127.0.0.1/?replicaSet=rs0",
        "AUDIT_KEY": "audit-canary-" + "k" * 32,
    }
    texts = secret_texts(load(environment, None))
    assert {"redis%2Fcanary", "redis/canary", "mongocanary", environment["AUDIT_KEY"]} <= texts


def test_every_setting_that_sounds_secret_is_hidden_when_shown() -> None:
    for setting in all_settings():
        if is_secret(setting.name) and "FILE" not in setting.name and "TTL" not in setting.name:
            assert setting.form.hide("canary-canary") == MASK, setting.name


QUIET = """
import logging
from hegemon.monitoring.logs import Shape, configure
configure(Shape(level="info", form="json"))
logging.getLogger("httpx").info("GET https://u:p@h/?token=x")
"""


def test_chatty_libraries_are_quiet() -> None:
    ended = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
