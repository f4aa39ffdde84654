"""Docker and podman under one contract: what the tests do to containers, and how the compose files are brought up."""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final

from tests.compose.lab import LAB, ROOT, SHARED, LabError
from tests.compose.machine import PATIENCE_S, Machine

NODE_IMAGE: Final = "hegemon:0.1.0"
# What the images are made of, by a part of the name that the compose files pin.
STANDINS: Final = ("python", "valkey", "mongo", "prometheus", "grafana")
# The files in there are root's.
_BACKUP: Final = ("--volume", "/lab/backup:/backup", "--user", "0")
_CONTAINERS_CONF: Final = """\
[containers]
default_ulimits = ["nofile=10000:10000", "nproc=10000:10000"]
init_path = "/usr/bin/tini"
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def pinned_images() -> list[str]:
    """The images of others that the compose files and the Dockerfile name."""
    texts = [(ROOT / "compose" / name).read_text() for name in ("services.yml", "Dockerfile")]
    return sorted(set(re.findall(r"docker\.io/[a-z/-]+:[\w.-]+", "\n".join(texts))))


class Engine(ABC):
    """An engine on a machine of its own, with the images ready after `prepare`."""

    name: ClassVar[str]
    tool: ClassVar[str]
    composer: ClassVar[Sequence[str]]
    environment: ClassVar[dict[str, str]] = {}
    script: ClassVar[str]
    separator: ClassVar[str]

    def __init__(self) -> None:
        self.machine = Machine(LAB / self.name, self.script, self.environment)
        self._until_ready()

    @abstractmethod
    def prepare(self) -> None:
        """Build the stand-ins under the names that the compose files pin, and the node's image by its Dockerfile."""

    def _until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self.machine.run(self.tool, "info", "--format", "json", check=False):
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} does not answer: {(SHARED / 'engine.log').read_text()[-3000:]}")
            time.sleep(0.2)

    def _build(self, builder: Sequence[str]) -> None:
        self.machine.run(self.tool, "import", "/lab/debian.tar", "hegemon-lab/debian:latest")
        for image in pinned_images():
            [standin] = [name for name in STANDINS if name in image]
            self.machine.run(*builder, "--tag", image, f"/lab/standins/{standin}")
        offline = ["--build-context", "wheels=/lab/wheels", "--build-arg", "PIP_NO_INDEX=1"]
        dockerfile = ["--file", "/lab/repo/compose/Dockerfile", "--tag", NODE_IMAGE, "/lab/repo"]
        self.machine.run(*builder, *offline, *dockerfile)

    def compose(self, algorithm: str, *command: str, check: bool = True) -> str:
        """`docker compose -f compose.ALGORITHM.yml COMMAND`, or podman-compose's."""
        return self.machine.run(
            *self.composer, "-f", f"/lab/repo/compose/compose.{algorithm}.yml", *command, check=check
        )

    @abstractmethod
    def up(self, algorithm: str, *more: str) -> None:
        """Bring the cluster up, or to what `more` says; returns when all of it is healthy."""

    @abstractmethod
    def scale(self, algorithm: str, extra: int) -> None:
        """As many of the service `extra`, from none, or none of those that there are."""

    @abstractmethod
    def replace(self, algorithm: str, node: str) -> None:
        """A new container in place of this node's."""

    @abstractmethod
    def down(self, algorithm: str, nodes: Sequence[str]) -> None:
        """All of it, these nodes before the stores."""

    @abstractmethod
    def up_with_new_secrets(self, algorithm: str, nodes: Sequence[str]) -> None:
        """Make what was changed in .env take effect, in the stores too."""

    @abstractmethod
    def once(self, algorithm: str, *command: str, stores: bool = False) -> None:
        """Run a `hegemon` command in a container of its own, with /lab/backup as /backup. `stores`: bring them up."""

    def container(self, algorithm: str, service: str, number: int = 1) -> str:
        """The name of a service's container."""
        return self.separator.join((f"hegemon-{algorithm}", service, str(number)))

    def containers(self, algorithm: str, service: str) -> list[str]:
        """The names of a service's containers that run."""
        names = self.machine.run(self.tool, "ps", "--format", "{{.Names}}").split()
        prefix = self.container(algorithm, service)[:-1]
        return sorted(name for name in names if name.startswith(prefix))

    def do(self, what: str, container: str) -> None:
        """`kill`, `pause`, `unpause`, `start`, `stop` or `rm`."""
        self.machine.run(self.tool, what, container)

    def disconnect(self, algorithm: str, container: str) -> None:
        """Take it off its network; what it has open there is dead."""
        self.machine.run(self.tool, "network", "disconnect", f"hegemon-{algorithm}_default", container)

    def connect(self, algorithm: str, service: str, container: str) -> None:
        """Back on its network, under its service's name."""
        network = f"hegemon-{algorithm}_default"
        self.machine.run(self.tool, "network", "connect", "--alias", service, network, container)

    def inspect(self, container: str) -> dict[str, object]:
        """What the engine knows of a container."""
        found = json.loads(self.machine.run(self.tool, "inspect", container))
        assert isinstance(found, list)
        described: dict[str, object] = found[0]
        return described

    def wipe(self, algorithm: str) -> None:
        """Take the cluster down with all its data, whatever state it is in."""
        self.compose(algorithm, "down", "--volumes", "--timeout", "1", check=False)
        # podman-compose leaves a volume that podman has made by itself.
        volumes = self.machine.run(self.tool, "volume", "ls", "--quiet", check=False).split()
        if left := [name for name in volumes if name.startswith(f"hegemon-{algorithm}_")]:
            self.machine.run(self.tool, "volume", "rm", "--force", *left, check=False)

    def stop(self) -> None:
        """Remove all containers, then end the machine; images and volumes that nobody has named stay for the next."""
        names = self.machine.run(self.tool, "ps", "--all", "--quiet", check=False).split()
        if names:
            self.machine.run(self.tool, "rm", "--force", "--volumes", *names, check=False)
        self.machine.stop()


class Docker(Engine):
    """Docker's own engine and Compose v2, from Debian."""

    name = "docker"
    tool = "docker"
    composer = ("docker", "compose")
    separator = "-"
    script = (
        "exec dockerd --data-root /var/lib/docker --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs "
        "--cgroup-parent hegemon-lab"
    )

    def prepare(self) -> None:
        self._build(["docker", "build", "--quiet"])
        self.machine.run("docker", "image", "prune", "--force")

    def up(self, algorithm: str, *more: str) -> None:
        self.compose(algorithm, "up", "--detach", "--wait", "--pull", "never", *more)

    def scale(self, algorithm: str, extra: int) -> None:
        self.up(algorithm, "--scale", f"extra={extra}")

    def replace(self, algorithm: str, node: str) -> None:
        self.up(algorithm, "--no-deps", "--force-recreate", node)

    def down(self, algorithm: str, nodes: Sequence[str]) -> None:
        self.compose(algorithm, "down")

    def up_with_new_secrets(self, algorithm: str, nodes: Sequence[str]) -> None:
        self.up(algorithm)

    def once(self, algorithm: str, *command: str, stores: bool = False) -> None:
        how = ("--rm", "--no-TTY", *_BACKUP, *(() if stores else ("--no-deps",)))
        self.compose(algorithm, "run", *how, "node-1", *command)


class Podman(Engine):
    """podman and podman-compose, from Debian. Without systemd nobody runs its health checks, so the machine does."""

    name = "podman"
    tool = "podman"
    composer = ("podman-compose",)
    separator = "_"
    environment: ClassVar[dict[str, str]] = {
        "CONTAINERS_CONF": "/lab/containers.conf",
        "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        # Else the build leaves HEALTHCHECK out.
        "BUILDAH_FORMAT": "docker",
    }
    # A Docker that ran in this network before has left rules that forward nothing.
    script = (
        "iptables -P FORWARD ACCEPT; iptables -F; iptables -t nat -F\n"
        "while :; do for each in $(podman ps --quiet --filter health=starting --filter health=unhealthy)\n"
        "do podman healthcheck run $each; done; sleep 1; done"
    )

    def __init__(self) -> None:
        (SHARED / "containers.conf").write_text(_CONTAINERS_CONF)
        super().__init__()

    def prepare(self) -> None:
        self._build(["podman", "build", "--quiet", "--pull=never"])
        # Not younger ones: they are the build's cache, and save the next run half a minute.
        self.machine.run("podman", "image", "prune", "--force", "--filter", "until=24h")

    def up(self, algorithm: str, *more: str) -> None:
        self.compose(algorithm, "up", "--detach", "--no-build", *more)
        deadline = time.monotonic() + PATIENCE_S
        while waits := self._unhealthy():
            if time.monotonic() > deadline:
                raise LabError(f"not healthy: {waits}")
            time.sleep(0.5)

    def scale(self, algorithm: str, extra: int) -> None:
        if not extra:
            self.machine.run("podman", "rm", "--force", "--time", "45", *self.containers(algorithm, "extra"))
            return
        self.machine.environment["HEGEMON_EXTRA"] = str(extra)
        try:
            self.up(algorithm, "--no-deps", "extra")
        finally:
            del self.machine.environment["HEGEMON_EXTRA"]

    def replace(self, algorithm: str, node: str) -> None:
        container = self.container(algorithm, node)
        self.do("stop", container)
        self.do("rm", container)
        self.up(algorithm, node)

    def down(self, algorithm: str, nodes: Sequence[str]) -> None:
        self.machine.run("podman", "stop", *(self.container(algorithm, node) for node in nodes))
        self.compose(algorithm, "down")

    def up_with_new_secrets(self, algorithm: str, nodes: Sequence[str]) -> None:
        self.down(algorithm, nodes)
        self.up(algorithm)

    def once(self, algorithm: str, *command: str, stores: bool = False) -> None:
        if stores:
            self.compose(algorithm, "up", "--detach", "--no-build", "redis", "mongodb", "mongodb-init")
            self.machine.run("podman", "wait", self.container(algorithm, "mongodb-init"))
        self.compose(algorithm, "run", "--rm", "-T", *_BACKUP, "--no-deps", "node-1", *command)

    def _unhealthy(self) -> list[str]:
        lines = self.machine.run("podman", "ps", "--format", "{{.Names}} {{.Status}}").splitlines()
        return [line for line in lines if "(starting)" in line or "(unhealthy)" in line]


ENGINES: Final[dict[str, type[Engine]]] = {"docker": Docker, "podman": Podman}
