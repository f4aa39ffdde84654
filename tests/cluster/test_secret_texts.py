"""What the log is told to mask: every secret of the settings, however it stands in them."""

import pytest

from hegemon.cluster.secret_texts import secret_texts
from hegemon.cluster.settings import load

KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="


@pytest.mark.parametrize(
    ("environment", "secrets"),
    [
        ({"REDIS_PASSWORD": "redis-canary"}, {"redis-canary"}),
        ({"REDIS_URL": "redis://:a%2Fcanary@h:1/0"}, {"a%2Fcanary", "a/canary"}),
        ({"MONGODB_URI": "mongodb://u:a/canary@h/db?w=1"}, {"a/canary"}),
        ({"MONGODB_URI": "mongodb://u@h/?tlsCertificateKeyFilePassword=can%20ary&w=1"}, {"can%20ary", "can ary"}),
        ({"REDIS_URL": "rediss://h/0?ssl_password=canary"}, {"canary"}),
        ({"PAYLOAD_ENCRYPTION_KEYS": f"k1:{KEY}"}, {f"k1:{KEY}", KEY}),
        ({"REDIS_URL": "redis://h:1/0", "MONGODB_URI": "mongodb://u@h/?w=1"}, set()),
    ],
)
def test_passwords_are_found_in_settings_and_inside_urls(environment: dict[str, str], secrets: set[str]) -> None:
    assert secret_texts(load(environment, None)) == secrets


def test_a_worker_is_told_no_secret_that_it_does_not_work_with() -> None:
    settings = load(
        {"REDIS_PASSWORD": "redis-canary", "JWT_SECRET": "jwt-canary-1f0c6e92ab77d3548810be4f2c9d6a53"}, None
    )
    assert secret_texts(settings, [settings.store]) == {"redis-canary"}
