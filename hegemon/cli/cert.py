"""`hegemon cert`: an authority of one's own and the certificates of nodes, for development and for closed networks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hegemon.cli.exits import ExitCode, Stop, usage
from hegemon.cli.output import JsonOption, Output, OutputOption, emit_json, emit_line, note

if TYPE_CHECKING:
    from collections.abc import Callable

    from hegemon.auth.certificates import Certificate, Pair

app = typer.Typer(help="Make and look at TLS certificates.", no_args_is_help=True, rich_markup_mode=None)

DirOption = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Where certificates and keys are kept.", show_default=True)
]
_DEFAULT_DIR = Path("certs")
_HOSTS = ("localhost", "127.0.0.1", "::1")


@app.command()
def ca(
    directory: DirOption = _DEFAULT_DIR,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What it is called.")] = "Hegemon development CA",
    days: Annotated[int, typer.Option("--days", min=1, max=36_500, help="How long it signs.")] = 3650,
    force: Annotated[bool, typer.Option("--force", help="Replace one that is there: all its certificates go.")] = False,
) -> None:
    """Make an authority: DIR/ca.pem, which clients trust, and DIR/ca-key.pem, which nobody else may read."""
    from hegemon.auth.certificates import make_authority

    certificate, key = directory / "ca.pem", directory / "ca-key.pem"
    if certificate.exists() and not force:
        raise Stop(
            ExitCode.REFUSED,
            f"{certificate} is there already: certificates that it signed would be trusted no more. --force replaces "
            "it.",
        )
    _write(lambda: make_authority(name, now=datetime.now(UTC), days=days), certificate, key)
    emit_line(str(certificate))
    note(f"Keep {key} to yourself: whoever has it can make certificates that your clients trust.")


@app.command()
def node(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The node, such as n1: the files are called after it.")],
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="HOST",
            help="A host name or IP address that clients reach it by; may be repeated. Default: localhost, 127.0.0.1 "
            "and ::1; with --renew those of the present certificate.",
        ),
    ] = None,
    directory: DirOption = _DEFAULT_DIR,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How long it is valid.")] = 90,
    renew: Annotated[bool, typer.Option("--renew", help="Replace the present one; a running node takes it.")] = False,
) -> None:
    """Make a node's certificate and key, signed by DIR/ca.pem: DIR/NAME.pem and DIR/NAME-key.pem."""
    from hegemon.auth.certificates import issue, read_pair

    if name in {"ca", ""} or Path(name).name != name or name.startswith("."):
        raise usage("NAME becomes a file's name: letters, digits, - and _; and it cannot be ca.")
    certificate, key = directory / f"{name}.pem", directory / f"{name}-key.pem"
    if certificate.exists() and not renew:
        raise Stop(ExitCode.REFUSED, f"{certificate} is there already; --renew replaces it.")
    if renew and not certificate.exists():
        raise Stop(ExitCode.NOT_FOUND, f"There is no {certificate} to renew.")
    hosts = tuple(host or (_read(certificate)[0].names if renew else _HOSTS))

    def made() -> Pair:
        authority = read_pair(directory / "ca.pem", directory / "ca-key.pem")
        return issue(authority, name=name, hosts=hosts, now=datetime.now(UTC), days=days)

    _write(made, certificate, key)
    emit_line(str(certificate))
    if not renew:
        note("Start the node with")
        for line in ("TLS_ENABLED=true", f"TLS_CERT_FILE={certificate.absolute()}", f"TLS_KEY_FILE={key.absolute()}"):
            note(f"  {line}")
        note(f"and reach it with --ca-file {directory / 'ca.pem'} (or HEGEMON_CA_FILE).")


@app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Certificates in PEM form.")],
    output: OutputOption = Output.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Show what the certificates in a file say: for whom, by whom, until when."""
    now = datetime.now(UTC)
    found = [_shown(certificate, now) for certificate in _read(file)]
    if as_json or output is Output.JSON:
        emit_json(found)
        return
    for number, facts in enumerate(found):
        if number:
            emit_line("")
        for label, value in facts.items():
            emit_line(f"{label:<12} {', '.join(value) if isinstance(value, list) else value}")


def _shown(certificate: Certificate, now: datetime) -> dict[str, str | float | list[str] | bool]:
    days = certificate.days_left(now)
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": list(certificate.names),
        "authority": certificate.authority,
        "key": certificate.key,
        "not_before": f"{certificate.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": round(days, 1),
        "valid": certificate.not_before <= now < certificate.not_after,
        "sha256": certificate.fingerprint,
    }


def _read(file: Path) -> list[Certificate]:
    from hegemon.auth.certificates import CertificateError, read_certificates

    try:
        return read_certificates(file.read_bytes())
    except OSError as error:
        raise Stop(ExitCode.NOT_FOUND, f"Cannot read {file}: {error.strerror or error}.") from error
    except CertificateError as error:
        raise usage(f"{file}: {error}.") from error


def _write(make: Callable[[], Pair], certificate: Path, key: Path) -> None:
    from hegemon.auth.certificates import CertificateError, write_pair

    try:
        pair = make()
        certificate.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_pair(pair, certificate, key)
    except CertificateError as error:
        hint = "" if (certificate.parent / "ca.pem").exists() else " Make an authority first: hegemon cert ca."
        raise usage(f"{error}.{hint}") from error
    except OSError as error:
        raise usage(f"Cannot write {error.filename}: {error.strerror or error}.") from error
