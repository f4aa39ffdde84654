"""What commands and scripts show of their caller: to whom, whose, and what they say when it is not enough."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hegemon.cli import cluster_poll, login_file, session
from hegemon.cli.exits import ExitCode, for_refusal, for_silence
from hegemon.client import ApiError, Client, Unreachable
from hegemon.client.credentials import Credentials, TokenPair
from tests.cli.conftest import Run
from tests.cli.fake_cluster import FakeCluster
from tests.cli.fake_node_api import FakeNode, serving
from tests.waiting import PATIENCE_S

SCRIPTS = Path(__file__).parents[2] / "scripts"
PAIR = TokenPair(access_token="access", refresh_token="refresh", role="user")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_poll, "PATIENCE_S", PATIENCE_S)


@pytest.fixture
def guarded() -> Iterator[dict[str, FakeNode]]:
    """Two nodes of a cluster that both want the token `good`."""
    place = FakeCluster()
    with ExitStack() as stack:
        nodes = {name: stack.enter_context(serving(name, place)) for name in ("n1", "n2")}
        for node in nodes.values():
            node.token = "good"
        yield nodes


# -- commands that ask several nodes -----------------------------------------------------------------------------------


def test_status_and_step_down_show_the_token_to_every_node_that_they_ask(
    bare_run: Run, guarded: dict[str, FakeNode]
) -> None:
    ended = bare_run("--url", guarded["n2"].url, "--token", "good", "cluster", "status")
    assert (ended.code, ended.err) == (0, "")
    assert "no answer" not in ended.out
    # n1 leads: it is found through n2.
    ended = bare_run("--url", guarded["n2"].url, "--token", "good", "election", "step-down")
    assert (ended.code, ended.err) == (0, "")
    for node in guarded.values():
        assert set(node.shown) == {"Bearer good"}


@pytest.mark.parametrize("command", [("status",), ("watch", "--for", "1ms")])
def test_who_shows_nothing_is_told_to_log_in_and_not_to_start_a_cluster(
    command: tuple[str, ...], bare_run: Run, guarded: dict[str, FakeNode]
) -> None:
    ended = bare_run("--url", guarded["n1"].url, "cluster", *command)
    assert ended.code == ExitCode.REFUSED
    assert "`hegemon login NAME`" in ended.err
    assert "hegemon up" not in ended.err


def test_a_watch_shows_the_token_and_ends_when_it_is_good_no_more(guarded: dict[str, FakeNode]) -> None:
    code = f"from hegemon.cli import cluster_poll, main\ncluster_poll.PATIENCE_S = {PATIENCE_S}\nmain()"
    line = ["--url", guarded["n1"].url, "--token", "good", "cluster", "watch"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code, *line], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert "n1 leads in epoch 17" in process.stdout.readline()
        for node in guarded.values():
            node.token = "another"
        _, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == ExitCode.REFUSED
    assert "`hegemon login NAME`" in err


# -- whose credential --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["HEGEMON_TOKEN", "HEGEMON_API_KEY"])
def test_no_credential_for_https_reaches_a_node_on_plain_http(
    variable: str, fake: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "good")
    session.asked(session.GlobalOptions("https://somewhere.example", "good"))
    try:
        with Client(fake.url, **session.credentials(fake.url)) as client:
            client.cluster()
    finally:
        session.asked(session.GlobalOptions(session.DEFAULT_URL))
    assert fake.shown == [None]


def test_what_is_given_goes_before_the_environment_and_a_token_before_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEGEMON_API_KEY", "key")
    assert Credentials().shown() == "key"
    monkeypatch.setenv("HEGEMON_TOKEN", "token")
    assert Credentials().shown() == "token"
    assert Credentials(api_key="given").shown() == "given"
    assert Credentials(token="").shown() is None


def test_a_login_takes_the_place_of_what_was_given(tmp_path: Path) -> None:
    keeper = login_file.LoginFile("https://a:1", tmp_path)
    credentials = Credentials(token="old", keeper=keeper)
    credentials.keep(None)
    assert credentials.shown() == "old"
    credentials.keep(PAIR)
    assert (credentials.shown(), keeper.load()) == ("access", PAIR)


def test_logins_at_several_nodes_do_not_forget_each_other(tmp_path: Path) -> None:
    files = [login_file.LoginFile(f"https://a:{port}", tmp_path) for port in (1, 2)]
    for file in files:
        file.save(PAIR)
    files[0].save(None)
    assert [file.load() for file in files] == [None, PAIR]


# -- sentences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (401, "unauthenticated", "hegemon login"),
        (403, "forbidden", "hegemon whoami"),
        (404, "user_not_found", "hegemon user list"),
        (404, "key_not_found", "hegemon key list"),
        (409, "user_exists", "hegemon user change"),
        (412, "precondition_failed", "try again"),
        (429, "login_throttled", "in 3 s"),
    ],
)
def test_a_refusal_says_what_to_do_next(status: int, code: str, hint: str) -> None:
    stop = for_refusal(ApiError(status, code, "No.", retry_after=3 if status == 429 else None))
    assert hint in stop.message
    assert "\n" not in stop.message


@pytest.mark.parametrize(
    ("url", "reason", "hint"),
    [
        ("https://a:1", "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed", "HEGEMON_CA_FILE"),
        ("https://a:1", "[SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch, certificate is not", "other names"),
        ("https://a:1", "[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired", "--renew"),
        ("https://a:1", "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] certificate required", "HEGEMON_CLIENT_CERT"),
        ("https://a:1", "[SSL: WRONG_VERSION_NUMBER] wrong version number", "http://"),
        ("http://a:1", "Server disconnected without sending a response.", "https://"),
    ],
)
def test_two_ends_that_do_not_fit_are_explained(url: str, reason: str, hint: str) -> None:
    stop = for_silence(Unreachable(url, reason, sent=True))
    assert stop.code == ExitCode.UNAVAILABLE
    assert hint in stop.message


@pytest.mark.parametrize(
    "line", [("login", "ana"), ("user", "add", "ana"), ("user", "passwd", "ana"), ("login", "ana", "--password-stdin")]
)
def test_where_no_password_can_be_typed_the_way_out_is_named(line: tuple[str, ...], run: Run, fake: FakeNode) -> None:
    ended = run(*line)
    assert (ended.code, "--password-stdin" in ended.err) == (ExitCode.USAGE, True)
    assert fake.requests == []
    assert "--password-stdin" in run(*line[:-1], "--help").out


# -- scripts -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq: apt-get install curl jq"
)
@pytest.mark.parametrize("variable", ["HEGEMON_TOKEN", "HEGEMON_API_KEY"])
def test_the_monitor_shows_a_token_and_says_when_one_is_wanted(
    variable: str, guarded: dict[str, FakeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEGEMON_CURL", f"-m {PATIENCE_S:g}")

    def look() -> str:
        command = [str(SCRIPTS / "monitor.sh"), "-c", "1", guarded["n2"].url]
        ended = subprocess.run(command, text=True, capture_output=True, timeout=PATIENCE_S, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    refused = look()
    assert "no node answers" in refused
    assert "it wants HEGEMON_TOKEN" in refused
    monkeypatch.setenv(variable, "good")
    shown = look()
    assert "n1 leads in epoch 17" in shown
    assert "no token" not in shown
