"""Settings: what is read, what is refused and in which words, and what is hidden."""

import re
import traceback
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

import hegemon.cluster.settings as settings_module
from hegemon.cluster.balancing import STRATEGIES
from hegemon.cluster.setting_forms import mask_url
from hegemon.cluster.settings import (
    ElectionSettings,
    ServerSettings,
    Settings,
    SettingsError,
    StoreSettings,
    WorkerSettings,
    load,
)

SECRET = "hunter2-and-thirty-two-bytes-long"


def problems(environ: dict[str, str], env_file: Path | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(environ, env_file)
    assert caught.value.code == "settings_invalid"
    return caught.value.problems


def dotenv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / ".env"
    path.write_text(text, encoding="utf-8")
    return path


# ---- what is read


def test_values_arrive_with_their_types() -> None:
    settings = load(
        {
            "SERVER_PORT": " 8123 ", "METRICS_ENABLED": "no", "MAX_REQUEST_SIZE": "2MB", "HANDLERS": "shop.jobs, mail",
            "RETRY_BASE_DELAY": "1m30s", "RETENTION_FAILED": "0", "RETRY_JITTER_FACTOR": "0.25", "LOG_LEVEL": "DEBUG",
            "JWT_SECRET": SECRET, "ELECTION_ALGORITHM": "bully", "CLUSTER_PEERS": "n2@h:1, [::1]:2",
        },
        None,
    )  # fmt: skip
    assert (settings.server.server_port, settings.server.metrics_enabled) == (8123, False)
    assert settings.server.max_request_size == 2_000_000
    assert settings.worker.handlers == ("shop.jobs", "mail")
    assert settings.queue.retry_base_delay == timedelta(seconds=90)
    assert settings.queue.retention_failed == timedelta(0)
    assert settings.queue.retry_jitter_factor == pytest.approx(0.25)
    assert [(peer.id, peer.address) for peer in settings.election.cluster_peers] == [("n2", "h:1"), (None, "[::1]:2")]
    assert settings.log.log_level == "debug"
    assert settings.auth.jwt_secret is not None
    assert settings.auth.jwt_secret.get_secret_value() == SECRET


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    path = dotenv(tmp_path, "SERVER_PORT=1111\nWORKER_COUNT=22 # slots\nexport MAX_RETRIES='5'\n")
    settings = load({"SERVER_PORT": "3333"}, path)
    assert (settings.server.server_port, settings.worker.worker_count, settings.queue.max_retries) == (3333, 22, 5)


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_COUNT", "33")
    assert load(env_file=None).worker.worker_count == 33


def test_an_empty_value_counts_as_unset(tmp_path: Path) -> None:
    path = dotenv(tmp_path, "SERVER_PORT=1111\nWORKER_COUNT=\n")
    settings = load({"SERVER_PORT": "", "JWT_SECRET": "", "MAX_RETRIES": "  "}, path)
    assert (settings.server.server_port, settings.worker.worker_count, settings.queue.max_retries) == (1111, 10, 3)
    assert settings.auth.jwt_secret is None


def test_a_dollar_in_the_file_is_an_ordinary_character(tmp_path: Path) -> None:
    settings = load({"HOME": "/root"}, dotenv(tmp_path, "REDIS_PASSWORD=a${HOME}b\n"))
    assert settings.store.redis_password is not None
    assert settings.store.redis_password.get_secret_value() == "a${HOME}b"


def test_a_file_that_does_not_exist_is_no_error(tmp_path: Path) -> None:
    assert load({}, tmp_path / "none").public() == load({}, None).public()


def test_a_line_of_the_file_that_is_no_assignment_is_refused_without_showing_it(tmp_path: Path) -> None:
    path = dotenv(tmp_path, f"SERVER_PORT=1\n{SECRET} x\nJWT_SECRET\n")
    assert problems({}, path) == (f"{path}, line 2: must be NAME=value.", f"{path}, line 3: must be NAME=value.")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"SERVER_PORT=\xff\n")
    assert problems({}, tmp_path / "binary") == (
        f"{tmp_path / 'binary'}: must be a file that can be read: it is not UTF-8 text.",
    )
    assert "must be a file that can be read" in problems({}, tmp_path)[0]


def test_node_id_is_the_sanitised_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "büro 7.local" + "x" * 80)
    node_id = load({}, None).cluster.node_id
    assert node_id.startswith("b-ro-7.local")
    assert len(node_id) == 64


# ---- what is refused


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("SERVER_PORT", "abc", "must be a whole number from 1 to 65535"),
        ("SERVER_PORT", "0", "must be a whole number from 1 to 65535"),
        ("SERVER_PORT", "80_80", "must be a whole number"),
        ("METRICS_PORT", "65536", "must be a whole number from 0 to 65535"),
        ("WORKER_COUNT", "9" * 5000, "must be a whole number from 1 to 10000"),
        ("METRICS_ENABLED", "ture", "must be true or false"),
        ("SERVER_HOST", "http://x", "must be an IP address or a host name"),
        ("CLUSTER_ID", "a b", "must be 1 to 64 characters out of A-Za-z0-9_-"),
        ("NODE_ID", "n" * 65, "must be 1 to 64 characters"),
        ("MONGODB_DATABASE", "a.b", "must be 1 to 63 characters"),
        ("SHUTDOWN_TIMEOUT", "30", "must have a unit: write 30s for seconds"),
        ("SHUTDOWN_TIMEOUT", "-5s", "must be a duration such as"),
        ("SHUTDOWN_TIMEOUT", "soon", "must be a duration such as"),
        ("JOB_TIMEOUT", "0", "must be a duration from 1ms to 30d"),
        ("MAX_PAYLOAD_SIZE", "1 apple", "must be a size such as"),
        ("MAX_PAYLOAD_SIZE", "0", "must be a size from 1 to 15MiB"),
        ("RETRY_JITTER_FACTOR", "1.1", "must be a number from 0 to 1"),
        ("RETRY_JITTER_FACTOR", "nan", "must be a number from 0 to 1"),
        ("RETRY_MULTIPLIER", "two", "must be a number from 1 to 100"),
        ("RETRY_POLICY", "never", "must be one of exponential or fixed"),
        ("LOG_LEVEL", "loud", "must be one of debug, info, warning, error or critical"),
        ("HANDLERS", "shop/jobs.py", "must be names of Python modules"),
        ("HANDLERS", "a,,b", "must be names of Python modules"),
        ("REDIS_ADDR", "localhost", "must be host:port"),
        ("REDIS_ADDR", "localhost:99999", "must be host:port"),
        ("REDIS_URL", "http://localhost", "must be a URL that begins with redis:// or rediss://"),
        ("MONGODB_URI", "mongodb://", "must be a URL that begins with mongodb:// or mongodb+srv:// and names a host"),
        ("ELECTION_ALGORITHM", "paxos", "must be one of solo, bully, raft or gossip"),
        ("CLUSTER_PEERS", "n1", "must be addresses of nodes separated by commas"),
        ("CLUSTER_PEERS", "n 1@h:1", "must be addresses of nodes separated by commas"),
        ("CLUSTER_PEERS", "n1@h:1,", "must be addresses of nodes separated by commas"),
        ("CLUSTER_PEERS", "n1@h:1,n1@h:2", "names one node twice"),
        ("CLUSTER_ADVERTISE", "host", "must be host:port"),
        (
            "SERVER_ADVERTISE",
            "https://ana@n1",
            "must be a URL that begins with https:// or http:// and names a host, w",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_name_value_and_what_would_be_right(name: str, value: str, hint: str) -> None:
    (problem,) = problems({name: value})
    assert problem.startswith(f"{name}={value[:100]}")
    assert f": {hint}" in problem
    assert len(problem) < 400


def test_every_wrong_value_is_told_at_once_beside_the_broken_rules() -> None:
    told = problems(
        {"SERVER_PORT": "x", "JOB_TIMEOUT": "5", "LOG_FORMAT": "xml", "WORKER_LEASE": "1s", "RETRY_BASE_DELAY": "1h"}
    )
    assert [problem.partition("=")[0] for problem in told] == [
        "SERVER_PORT", "JOB_TIMEOUT", "LOG_FORMAT", "RETRY_MAX_DELAY", "WORKER_LEASE",
    ]  # fmt: skip


def test_a_rule_does_not_judge_a_value_that_could_not_be_read() -> None:
    assert problems({"RETRY_MAX_DELAY": "x", "RETRY_BASE_DELAY": "1h"}) == (
        "RETRY_MAX_DELAY=x: must be a duration such as 500ms, 10s, 1m30s, 2h or 7d (the largest unit first).",
    )


@pytest.mark.parametrize("url", ["https://ana:seven-keys@n1:8443", "https://ana:seven-keys@n1/x", "https://:s@n1"])
def test_a_url_that_others_are_told_holds_no_credentials_and_its_refusal_does_not_either(url: str) -> None:
    (problem,) = problems({"SERVER_ADVERTISE": url})
    assert "without a user or a password" in problem
    assert "seven-keys" not in problem
    assert load({"SERVER_ADVERTISE": "https://n1:8443/x@y"}, None).server.server_advertise == "https://n1:8443/x@y"


def test_control_characters_of_a_wrong_value_do_not_reach_the_terminal() -> None:
    assert problems({"LOG_LEVEL": "\x1b[31m"})[0].isprintable()


def test_bytes_that_are_no_text_are_refused_in_a_sentence() -> None:
    assert problems({"CLUSTER_ID": "\udcff"})[0].endswith("must be 1 to 64 characters out of A-Za-z0-9_-.")


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"TLS_ENABLED": "true"}, "TLS_ENABLED needs TLS_CERT_FILE and TLS_KEY_FILE"),
        (
            {"RETRY_MAX_DELAY": "1s", "RETRY_BASE_DELAY": "2s"},
            "RETRY_MAX_DELAY must not be shorter than RETRY_BASE_DELAY",
        ),
        ({"WORKER_LEASE": "1999ms"}, "WORKER_LEASE must be at least four times WORKER_BEAT"),
        ({"OFFICE_TAKEOVER": "299ms"}, "OFFICE_TAKEOVER must be at least three times OFFICE_BEAT"),
        ({"ELECTION_INTERVAL": "3s"}, "ELECTION_INTERVAL must be shorter than ELECTION_TIMEOUT"),
        ({"ELECTION_HEARTBEAT": "2s"}, "ELECTION_HEARTBEAT must not be longer than ELECTION_INTERVAL"),
        ({"CLUSTER_PEERS": "h:1"}, "a cluster of several nodes needs ELECTION_ALGORITHM=bully, raft or gossip"),
        ({"CLUSTER_SECRET_OTHER": SECRET}, "CLUSTER_SECRET_OTHER needs CLUSTER_SECRET"),
        ({"WORKER_PROCESSES": "3", "WORKER_COUNT": "2"}, "WORKER_PROCESSES must not exceed WORKER_COUNT"),
        ({"METRICS_PORT": "8080"}, "METRICS_PORT must differ from SERVER_PORT"),
        ({"MAX_PAYLOAD_SIZE": "15MiB"}, "MAX_PAYLOAD_SIZE and MAX_RESULT_SIZE together must not exceed 15MiB"),
        ({"MAX_REQUEST_SIZE": "1MB"}, "MAX_REQUEST_SIZE must not be smaller than MAX_PAYLOAD_SIZE"),
        ({"SUBMIT_BUFFER": "999"}, "SUBMIT_BUFFER must not be below MAX_BATCH_SIZE"),
        ({"REDIS_URL": "redis://h", "REDIS_ADDR": "h:1"}, "REDIS_URL and REDIS_ADDR exclude each other"),
        ({"REDIS_URL": "redis://h", "REDIS_PASSWORD": SECRET}, "REDIS_URL and REDIS_PASSWORD exclude each other"),
        ({"REDIS_URL": "redis://h", "REDIS_DB": "0"}, "REDIS_URL and REDIS_DB exclude each other"),
        ({"SERVER_HOST": "10.0.0.5"}, "without authentication SERVER_HOST must be loopback"),
    ],
)
def test_a_broken_rule_is_told_with_the_values_it_is_about(environ: dict[str, str], sentence: str) -> None:
    (problem,) = problems(environ)
    assert f": {sentence}" in problem
    for name, value in environ.items():
        assert f"{name}={'********' if value == SECRET else value}" in problem


@pytest.mark.parametrize(
    "environ",
    [
        {"WORKER_LEASE": "2s"},
        {"OFFICE_TAKEOVER": "300ms"},
        {"RETRY_MAX_DELAY": "1s"},
        {"METRICS_PORT": "8080", "METRICS_ENABLED": "false"},
        {"METRICS_PORT": "0"},
        {"MAX_REQUEST_SIZE": "1MiB"},
        {"SUBMIT_BUFFER": "1000"},
        {"WORKER_PROCESSES": "10"},
        {"SERVER_HOST": "localhost"},
        {"SERVER_HOST": "::1"},
        {"SERVER_HOST": "127.1.2.3"},
        {"SERVER_HOST": "10.0.0.5", "AUTH_ENABLED": "true", "JWT_SECRET": SECRET, "TRUSTED_PROXIES": "10.0.0.1"},
    ],
)
def test_a_rule_allows_what_stands_right_at_its_edge(environ: dict[str, str]) -> None:
    load(environ, None)


def test_groups_are_frozen_and_keep_their_rules_when_built_directly() -> None:
    settings = load({}, None)
    with pytest.raises(ValidationError, match="frozen"):
        settings.worker.worker_count = 3
    with pytest.raises(ValidationError, match="WORKER_LEASE must be at least four times WORKER_BEAT"):
        WorkerSettings(worker_lease=timedelta(seconds=1))
    with pytest.raises(ValidationError, match="a whole number from 1 to 10000"):
        WorkerSettings(worker_count=0)


# ---- Redis by URL or by parts


def test_redis_url_is_made_from_its_parts_with_the_password_escaped() -> None:
    store = load({"REDIS_ADDR": "[::1]:7000", "REDIS_PASSWORD": "p@s/s", "REDIS_DB": "2"}, None).store
    assert store.redis_url == "redis://:p%40s%2Fs@[::1]:7000/2"
    assert load({}, None).store.redis_url == "redis://127.0.0.1:6379/0"
    assert load({"REDIS_URL": "rediss://u:p@h:1/3"}, None).store.redis_url == "rediss://u:p@h:1/3"


def test_the_environments_way_of_naming_redis_beats_the_other_way_in_the_file(tmp_path: Path) -> None:
    by_parts = dotenv(tmp_path, "REDIS_ADDR=h:1\nREDIS_PASSWORD=x\nREDIS_DB=4\n")
    assert load({"REDIS_URL": "redis://other:2"}, by_parts).store.redis_url == "redis://other:2"
    by_url = dotenv(tmp_path, "REDIS_URL=redis://h:1\n")
    assert load({"REDIS_ADDR": "other:2"}, by_url).store.redis_url == "redis://other:2/0"


# ---- what is hidden


def test_no_secret_is_ever_printed() -> None:
    settings = load(
        {
            "JWT_SECRET": SECRET,
            "REDIS_PASSWORD": SECRET,
            "MONGODB_URI": f"mongodb://admin:{SECRET}@a:1,b:2/?tlsCertificateKeyFilePassword={SECRET}&w=1",
        },
        None,
    )
    by_url = load({"REDIS_URL": f"redis://:{SECRET}@h:1/0"}, None)
    public = settings.public()
    assert public["JWT_SECRET"] == public["REDIS_PASSWORD"] == "********"
    assert public["MONGODB_URI"] == "mongodb://admin:********@a:1,b:2/?tlsCertificateKeyFilePassword=********&w=1"
    assert by_url.public()["REDIS_URL"] == "redis://:********@h:1/0"
    for shown in (settings.public(), by_url.public(), settings, by_url, settings.store, by_url.store, settings.server):
        assert SECRET not in f"{shown} {shown!r}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", f"http://:{SECRET}@h"),
        ("REDIS_URL", f"redis//u:{SECRET}@h"),
        ("REDIS_URL", f"redis://:{SECRET}"),
        ("REDIS_URL", f"redis://u:a@b/{SECRET}@h:port"),
        ("MONGODB_URI", f"mongo://u:{SECRET}@h/?a=b"),
        ("JWT_SECRET", SECRET[:31]),
        ("JWT_SECRET", SECRET[:20] + "\udcff"),
    ],
)
def test_a_wrong_value_that_holds_a_secret_is_told_without_it(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({name: value}, None)
    whole = "".join(traceback.format_exception(caught.value))
    assert f"{name}=" in whole
    assert SECRET[:20] not in whole


def test_a_secret_given_to_a_group_directly_is_not_in_its_error() -> None:
    with pytest.raises(ValidationError) as caught:
        StoreSettings(mongodb_uri=f"http://u:{SECRET}@h")
    assert SECRET not in str(caught.value)


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
@example("p@ss/w?rd")
def test_masking_hides_a_password_of_any_characters(password: str) -> None:
    marked = f"<{password}>"
    assert marked not in mask_url(f"redis://u:{marked}@h:1/0")


# ---- names that are not ours


def test_a_misspelt_name_is_a_warning_and_nothing_else() -> None:
    environ = {"SEVER_PORT": "x", "MONGODB_URL": "x", "HANDELRS": "x", "WORKER_COUTNS": SECRET}
    settings = load(environ, None)
    assert settings.warnings == (
        "HANDELRS is not a setting of Hegemon and is ignored; did you mean HANDLERS?",
        "MONGODB_URL is not a setting of Hegemon and is ignored; did you mean MONGODB_URI?",
        "SEVER_PORT is not a setting of Hegemon and is ignored; did you mean SERVER_PORT?",
        "WORKER_COUTNS is not a setting of Hegemon and is ignored; did you mean WORKER_COUNT?",
    )
    assert settings.public() == load({}, None).public()


def test_other_programs_names_are_ignored_in_silence() -> None:
    names = ("HOME", "PATH", "LANG", "HOSTNAME", "USER", "TERM", "NODE_ENV", "LOGNAME", "PYTHONPATH", "SERVER_SOFTWARE")
    assert load(dict.fromkeys(names, "x"), None).warnings == ()


def test_the_strategies_that_can_be_chosen_are_those_that_exist() -> None:
    for strategy in STRATEGIES:
        assert load({"LOAD_BALANCER_STRATEGY": strategy}, None).cluster.load_balancer_strategy == strategy
    (problem,) = problems({"LOAD_BALANCER_STRATEGY": "none"})
    assert len(re.findall("|".join(STRATEGIES), problem)) == len(STRATEGIES)
    assert set(re.findall(r"[a-z_]+", problem.partition("one of ")[2])) - {"or"} == set(STRATEGIES)


def test_defaults_need_no_arguments() -> None:
    assert Settings().public() == load({}, None).public()
    assert (ServerSettings().server_port, ElectionSettings().office_beat) == (8080, timedelta(milliseconds=100))


# What checks a secret, a key or a password is asked where it is: pure modules, which reach for no store and no socket.
CHECKS = r"hegemon\.(auth\.(audit_chain|errors|passwords|roles|signing)|queue\.sealing)"


def test_the_settings_import_nothing_of_the_engine() -> None:
    package = Path(settings_module.__file__).parent
    files = [*package.glob("*settings.py"), *package.glob("setting_*.py"), package / "durations.py"]
    assert len(files) > 10
    for file in files:
        imported = re.findall(r"^\s*(?:from|import) (\S+)", file.read_text(), re.MULTILINE)
        ours = {module for module in imported if module.startswith("hegemon")}
        allowed = rf"hegemon\.cluster\.(\w*setting|durations)|{CHECKS}$"
        assert not {module for module in ours if not re.match(allowed, module)}, file.name


def test_a_weak_secret_is_refused_without_being_shown() -> None:
    (problem,) = problems({"JWT_SECRET": "changeme-changeme-changeme-changeme"})
    assert problem.startswith("JWT_SECRET=********: JWT_SECRET holds a word")
    assert "changeme" not in problem
