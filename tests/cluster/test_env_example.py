"""`.env.example` and the code say the same, both ways: names, defaults and explanations."""

import re
from pathlib import Path

from hegemon.cluster.env_example import render
from hegemon.cluster.settings import all_settings, load

ENV_EXAMPLE = Path(__file__).parents[2] / ".env.example"
ASSIGNMENT = re.compile(r"#?([A-Z][A-Z0-9_]*)=(.*)")
NAMES = {setting.name for setting in all_settings()}

# The contract, by hand: what an operator may rely on, apart from how the code comes to it.
DEFAULTS = {
    "SERVER_HOST": "127.0.0.1", "SERVER_PORT": "8080", "SERVER_ADVERTISE": "", "MAX_REQUEST_SIZE": "16MiB",
    "METRICS_ENABLED": "true", "METRICS_PORT": "9090", "AUTH_ENABLED": "false", "JWT_SECRET": "",
    "JWT_SECRET_OTHER": "", "JWT_PRIVATE_KEY_FILE": "", "JWT_PUBLIC_KEY_FILES": "", "JWT_ISSUER_URL": "",
    "JWT_JWKS_URL": "", "JWT_AUDIENCE": "", "JWT_ROLE_CLAIM": "role", "ACCESS_TOKEN_TTL": "10m",
    "REFRESH_TOKEN_TTL": "7d", "ADMIN_PASSWORD": "", "DEMO_USERS": "false",
    "TLS_ENABLED": "false", "TLS_CERT_FILE": "", "TLS_KEY_FILE": "", "TLS_CLIENT_AUTH": "off", "TLS_CLIENT_CA_FILE": "",
    "MONGODB_TLS_CA_FILE": "", "MONGODB_TLS_KEY_FILE": "", "REDIS_TLS_CA_FILE": "", "REDIS_TLS_CERT_FILE": "",
    "REDIS_TLS_KEY_FILE": "", "PAYLOAD_ENCRYPTION_KEYS": "",
    "RATE_LIMIT_PER_ADDRESS": "", "RATE_LIMIT_PER_PRINCIPAL": "", "RATE_LIMIT_REFUSALS": "", "TRUSTED_PROXIES": "",
    "CORS_ORIGINS": "", "MAX_CONNECTIONS": "10000", "MAX_REQUESTS": "256",
    "MAX_ACTIVITY_STREAMS": "1024", "MAX_HEADER_SIZE": "32KiB",
    "HEADER_TIMEOUT": "10s", "BODY_TIMEOUT": "30s", "WRITE_TIMEOUT": "30s", "REQUEST_TIMEOUT": "3m",
    "KEEP_ALIVE_TIMEOUT": "1m15s", "AUDIT_KEY": "", "AUDIT_KEY_OTHER": "", "AUDIT_RETENTION": "365d",
    "EGRESS_ALLOW": "",
    "CLUSTER_ID": "hegemon", "NODE_PRIORITY": "0", "ELECTION_ALGORITHM": "solo", "ELECTION_TIMEOUT": "3s",
    "ELECTION_INTERVAL": "1s", "ELECTION_HEARTBEAT": "100ms", "ELECTION_RANK": "", "ELECTION_BULLY_PREEMPT": "true",
    "CLUSTER_HOST": "127.0.0.1", "CLUSTER_PORT": "7946", "CLUSTER_ADVERTISE": "", "CLUSTER_PEERS": "",
    "CLUSTER_SECRET": "", "CLUSTER_SECRET_OTHER": "", "DATA_DIR": "", "LOAD_BALANCER_STRATEGY": "least_loaded",
    "OFFICE_BEAT": "100ms", "OFFICE_TAKEOVER": "300ms", "SHUTDOWN_TIMEOUT": "30s",
    "MONGODB_URI": "mongodb://127.0.0.1:27017/?replicaSet=rs0", "MONGODB_DATABASE": "hegemon", "MONGODB_TIMEOUT": "5s",
    "REDIS_URL": "", "REDIS_ADDR": "127.0.0.1:6379", "REDIS_PASSWORD": "", "REDIS_DB": "0", "REDIS_TIMEOUT": "2s",
    "RETRY_POLICY": "exponential", "MAX_RETRIES": "3", "RETRY_BASE_DELAY": "1s", "RETRY_MAX_DELAY": "5m",
    "RETRY_MULTIPLIER": "2.0", "RETRY_JITTER_FACTOR": "0.1", "JOB_TIMEOUT": "5m", "JOB_TIMEOUT_GRACE": "5s",
    "MAX_CRASHES": "3", "MAX_PAYLOAD_SIZE": "1MiB", "MAX_RESULT_SIZE": "1MiB", "MAX_BATCH_SIZE": "1000",
    "MAX_QUEUE_DEPTH": "2000000", "SUBMIT_BUFFER": "10000", "RETENTION_COMPLETED": "7d", "RETENTION_FAILED": "30d",
    "WORKER_COUNT": "10", "WORKER_PROCESSES": "1", "HANDLERS": "", "WORKER_LEASE": "3s", "WORKER_BEAT": "500ms",
    "SUSPECT_PROCESSES": "1", "STORE_DATA_DIR": "", "LOG_LEVEL": "info", "LOG_FORMAT": "auto",
    "LOG_SAMPLING": "20", "LOG_KEPT": "2MiB", "TRACING_ENABLED": "false",
}  # fmt: skip


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    public = load({}, None).public()
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", public.pop("NODE_ID"))
    assert public == DEFAULTS


def assignments() -> dict[str, str]:
    found = [ASSIGNMENT.fullmatch(line) for line in ENV_EXAMPLE.read_text(encoding="utf-8").splitlines()]
    pairs = [(match[1], match[2]) for match in found if match]
    assert len(pairs) == len(dict(pairs)), "a name stands twice in .env.example"
    return dict(pairs)


def test_env_example_names_every_setting_and_no_other() -> None:
    assert assignments().keys() == NAMES


def test_env_example_with_every_line_in_force_gives_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("\n".join(f"{name}={value}" for name, value in assignments().items()), encoding="utf-8")
    settings = load({}, path)
    assert settings.public() == load({}, None).public()
    assert settings.warnings == ()


def test_env_example_as_it_is_gives_the_defaults() -> None:
    assert load({}, ENV_EXAMPLE) == load({}, None)


def test_env_example_shows_each_default_beside_its_explanation() -> None:
    assert {name: value for name, value in assignments().items() if name != "NODE_ID"} == DEFAULTS


def test_env_example_says_what_the_code_says() -> None:
    assert ENV_EXAMPLE.read_text(encoding="utf-8") == render(), "write it anew: python -m hegemon.cluster.env_example"


def test_every_setting_is_described_and_its_description_names_only_settings() -> None:
    for setting in all_settings():
        description = setting.field.description or ""
        assert len(description) > 30, setting.name
        assert set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", description)) <= NAMES, setting.name


def test_attributes_are_the_names_in_lower_case() -> None:
    different = {
        setting.name: setting.attribute for setting in all_settings() if setting.attribute != setting.name.lower()
    }
    assert different == {"REDIS_URL": "redis_url_given"}  # `redis_url` is the property that covers both ways
