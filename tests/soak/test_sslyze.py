"""What sslyze finds in the API's TLS. It is installed into an environment of its own, since it pins what we use."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hegemon.api.server import ApiServer, metrics_app
from hegemon.api.tls import ServerTls, TlsFiles
from tests.api.memory import metrics_of
from tests.certificates import Authority

pytestmark = pytest.mark.soak

HOME = Path(__file__).resolve().parents[2] / ".bench" / "sslyze"
# Strong curves both, which Mozilla's profile leaves out; Python cannot choose a list of curves before 3.15.
LEFT_IN = "tls_curves: TLS curves {"

SCANS = [
    *("--certinfo", "--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--reneg", "--heartbleed"),
    *("--openssl_ccs", "--fallback", "--robot", "--compression", "--elliptic_curves", "--early_data", "--ems"),
]


@pytest.fixture(scope="module")
def sslyze() -> Path:
    """The program. A test process has a network of its own and cannot fetch it."""
    program = HOME / "bin" / "sslyze"
    if not program.exists():
        pytest.skip(f"no sslyze: `python3 -m venv {HOME} && {HOME}/bin/pip install sslyze` brings it")
    return program


async def test_sslyze_finds_nothing_old_weak_or_vulnerable(sslyze: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "certs")
    files = authority.write("n1")
    tls = ServerTls(TlsFiles(files.certificate, files.key))
    server = ApiServer(metrics_app(metrics_of(b"up 1\n")), host="127.0.0.1", port=0, tls=tls)
    await server.start()
    written = tmp_path / "found.json"
    try:
        scan = await asyncio.create_subprocess_exec(
            *(str(sslyze), "--mozilla_config", "intermediate", "--certinfo_ca_file", str(authority.certificate)),
            *(*SCANS, "--json_out", str(written), f"localhost:{server.port}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said, _ = await scan.communicate()
    finally:
        await server.stop(1.0)
    text = said.decode()
    complaints = [line.strip(" *") for line in text.splitlines() if line.startswith("        * ")]
    assert all(line.startswith(LEFT_IN) for line in complaints), text
    (found,) = json.loads(written.read_text())["server_scan_results"]
    judge({name: part["result"] for name, part in found["scan_result"].items() if part and part.get("result")})


def judge(result: dict[str, Any]) -> None:
    """Hold each part of the scan against what it must say."""
    for version in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        assert result[f"{version}_cipher_suites"]["accepted_cipher_suites"] == [], version
    for version in ("tls_1_2", "tls_1_3"):
        suites = [item["cipher_suite"]["name"] for item in result[f"{version}_cipher_suites"]["accepted_cipher_suites"]]
        assert suites
        assert all("GCM" in name or "CHACHA20" in name for name in suites), suites
    assert result["heartbleed"]["is_vulnerable_to_heartbleed"] is False
    assert result["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"] is False
    assert result["robot"]["robot_result"].startswith("NOT_VULNERABLE")
    assert result["tls_compression"]["supports_compression"] is False
    assert result["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"] is False
    assert result["tls_1_3_early_data"]["supports_early_data"] is False
