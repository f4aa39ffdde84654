"""What a node tells the others about where its API is reached."""

import secrets
import socket

import pytest

from hegemon.api.frontend import HttpFrontend
from hegemon.cluster.settings import load

ANYWHERE = "0.0.0.0"  # noqa: S104 - no port is bound


def url(**environ: str) -> str:
    secured = {"AUTH_ENABLED": "true", "JWT_SECRET": secrets.token_hex(32), "TRUSTED_PROXIES": "10.0.0.1"}
    return HttpFrontend(load({**secured, **environ}, env_file=None)).url


def test_a_node_on_all_addresses_is_advertised_by_the_name_of_its_host() -> None:
    assert url(SERVER_HOST=ANYWHERE, SERVER_PORT="8081") == f"http://{socket.gethostname()}:8081"


def test_a_node_on_one_address_is_advertised_by_it() -> None:
    assert url(SERVER_HOST="10.1.2.3") == "http://10.1.2.3:8080"


@pytest.mark.parametrize("given", ["https://jobs.example.com:8443", "https://jobs.example.com:8443/"])
def test_server_advertise_beats_what_the_node_listens_on(given: str) -> None:
    assert url(SERVER_HOST=ANYWHERE, SERVER_ADVERTISE=given) == "https://jobs.example.com:8443"
