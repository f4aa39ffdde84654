"""A whole node over TLS, on the event loop that it has in production: jobs, a renewal on SIGHUP, the metric."""

import asyncio
import signal
import ssl
from datetime import UTC, datetime
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.certificates import Authority
from tests.nodes import node
from tests.waiting import wait_until


async def shown(port: int, context: ssl.SSLContext) -> str:
    """The fingerprint of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256()).hex()


async def test_a_node_over_tls_runs_jobs_and_takes_a_renewed_certificate_on_sighup(
    environment: dict[str, str], tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "certs")
    files = authority.write("n1")
    tls = {"TLS_ENABLED": "true", "TLS_CERT_FILE": str(files.certificate), "TLS_KEY_FILE": str(files.key)}
    trusting = authority.trusting()
    async with node(environment | tls, start=False) as started:
        await started.api.aclose()
        started.url = started.url.replace("http:", "https:")
        started.api = httpx.AsyncClient(base_url=started.url, verify=trusting, timeout=60.0, trust_env=False)
        await started.start(170.0)
        job = await started.wait(await started.submit("echo", {"over": "tls"}))
        assert job["result"] == {"over": "tls"}
        nodes = (await started.api.get("/api/v1/nodes")).json()["nodes"]
        assert [item["url"] for item in nodes] == [started.url]

        before = await shown(started.port, trusting)
        authority.write("n1", authority.issue("n1", days=60))
        started.signal(signal.SIGHUP)
        await wait_until(lambda: '"tls_reloaded"' in started.log)
        assert await shown(started.port, trusting) != before
        assert (await started.job(job["id"]))["status"] == "completed"
        metrics = (await started.api.get("/metrics")).text
        line = next(
            line for line in metrics.splitlines() if line.startswith("hegemon_tls_certificate_expiry_timestamp")
        )
        days = (float(line.split()[-1]) - datetime.now(UTC).timestamp()) / 86_400
        assert 59 < days <= 60
        assert await started.stop() == 0


async def test_a_node_whose_certificate_cannot_be_used_says_so_and_does_not_start(
    environment: dict[str, str], tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "certs")
    files, other = authority.write("n1"), authority.write("n2")
    tls = {"TLS_ENABLED": "true", "TLS_CERT_FILE": str(files.certificate), "TLS_KEY_FILE": str(other.key)}
    async with node(environment | tls, start=False) as started:
        started.spawn()
        assert await started.ended() == 2
        assert "they do not belong together" in started.log
        assert "Traceback" not in started.log
