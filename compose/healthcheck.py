#!/opt/hegemon/bin/python3 -IS
"""The image's health check: 0 if this node can take requests now (`/readyz`), else 1 and why.

The standard library alone, without site-packages: it runs every few seconds beside a node that has work to do.
"""

import http.client
import os
import ssl
import sys

TIMEOUT_S = 4.0


def main() -> int:
    """Ask the node of this container, by its own settings."""
    setting = os.environ.get
    host = setting("SERVER_HOST") or "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    port = int(setting("SERVER_PORT") or 8080)
    connection: http.client.HTTPConnection
    if (setting("TLS_ENABLED") or "false").lower() in {"true", "1", "yes", "on"}:
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=_context())
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        print(answer.status, answer.read(2000).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        print(f"https or http to {host}:{port}: {error}")
        return 1
    return 0 if answer.status == http.client.OK else 1


def _context() -> ssl.SSLContext:
    """No verification: it asks its own loopback and sends nothing. A node that wants certificates is shown its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if os.environ.get("TLS_CLIENT_AUTH") == "required":
        context.load_cert_chain(os.environ["TLS_CERT_FILE"], os.environ["TLS_KEY_FILE"])
    return context


if __name__ == "__main__":
    sys.exit(main())
