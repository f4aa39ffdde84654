"""Certificates: what one says, and a small authority of one's own for development and for closed networks.

All keys are EC P-256: a handshake then costs the server 0.3 ms of its loop (measured), with RSA of 2,048 bits 0.5 ms,
and with 4,096 bits several.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS: Final = 3650
NODE_DAYS: Final = 90
# Clocks differ: a certificate is valid from a little before it was made.
_BACKDATED: Final = timedelta(minutes=5)
_DNS_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*"
)


class CertificateError(ValueError):
    """A certificate or a key cannot be read, made or used; the message says why."""


class Certificate(msgspec.Struct, frozen=True):
    """What a certificate says. Times are UTC; `fingerprint` is SHA-256 in hexadecimal; `key` such as "EC secp256r1"."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    authority: bool
    not_before: datetime
    not_after: datetime
    key: str
    serial: str
    fingerprint: str

    def days_left(self, now: datetime) -> float:
        """Days until it ends; negative when it has."""
        return (self.not_after - now) / timedelta(days=1)


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its private key, both in PEM form; the key without a passphrase."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pair(...)"


def read_certificates(pem: bytes) -> list[Certificate]:
    """What each certificate in `pem` says, in order, at least one. Raises CertificateError."""
    try:
        return [_facts(found) for found in x509.load_pem_x509_certificates(pem)]
    except ValueError as error:
        raise CertificateError(f"there is no certificate in PEM form in it: {error}") from error


def make_authority(name: str, *, now: datetime, days: int = AUTHORITY_DAYS) -> Pair:
    """A new authority that signs certificates for `days`, but no other authorities. Raises CertificateError."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    made = (
        _builder(subject, subject, key.public_key(), now, now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pair(made, key)


def issue(authority: Pair, *, name: str, hosts: Sequence[str], now: datetime, days: int = NODE_DAYS) -> Pair:
    """A certificate of `authority` for a node that is reached as `hosts` (names, `*.names`, IP addresses).

    It serves and it may identify a client too. It never outlives its authority. Raises CertificateError.
    """
    if not hosts:
        raise CertificateError("a node's certificate needs at least one host")
    signer, signing_key = _authority(authority)
    if signer.not_valid_after_utc <= now:
        raise CertificateError(f"the authority ended on {signer.not_valid_after_utc:%Y-%m-%d}; make a new one")
    key = ec.generate_private_key(ec.SECP256R1())
    until = min(now + timedelta(days=days), signer.not_valid_after_utc)
    made = (
        _builder(_subject(name), signer.subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .sign(signing_key, hashes.SHA256())
    )
    return _pair(made, key)


def write_pair(pair: Pair, certificate: Path, key: Path) -> None:
    """Write both files, each at once, the key first and for its owner alone: a server that watches them meets the old
    pair, a pair that does not match and is refused, then the new one. Raises OSError."""
    _replace(key, pair.key, 0o600)
    _replace(certificate, pair.certificate, 0o644)


def read_pair(certificate: Path, key: Path) -> Pair:
    """The pair of these files. Raises CertificateError."""
    try:
        return Pair(certificate.read_bytes(), key.read_bytes())
    except OSError as error:
        raise CertificateError(f"cannot read {error.filename}: {error.strerror}") from error


def _replace(path: Path, data: bytes, mode: int) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _authority(pair: Pair) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"the authority cannot be read: {error}") from error
    if not _facts(certificate).authority:
        raise CertificateError("the authority's certificate is no authority's: it may not sign others")
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CertificateError("the authority's key does not belong to its certificate, or is no EC key")
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since - _BACKDATED)
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError as error:
        raise CertificateError(f"a certificate's name has 1 to 64 characters: {error}") from error


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        if not _DNS_NAME.fullmatch(host):
            raise CertificateError(f"{host!r} is neither a host name nor an IP address") from None
        return x509.DNSName(host)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _facts(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=_names(certificate),
        authority=_is_authority(certificate),
        not_before=certificate.not_valid_before_utc.astimezone(UTC),
        not_after=certificate.not_valid_after_utc.astimezone(UTC),
        key=_key_kind(certificate),
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(str(name.value) for name in names)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _key_kind(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        return "EdDSA"
    return type(key).__name__
