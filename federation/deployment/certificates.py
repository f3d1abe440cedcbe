"""TLS certificates: an authority of one's own, and certificates for servers that it vouches for.

A coordinator makes an authority when its home is made, and hands its certificate to partners together with the
coordinator's key; nobody else's authority is trusted. A partner makes one for the way between its own processes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federation.errors import InputError
from federation.identity import read_secret
from federation.private_files import replace_private

AUTHORITY_DAYS: Final = 3650
SERVER_DAYS: Final = 397
"""Of a server's certificate. Renewing it needs no partner, as they trust the authority."""
_BACKDATED = timedelta(hours=1)
"""Clocks of two organisations differ."""


def make_authority(folder: Path, name: str, *, now: datetime | None = None) -> None:
    """Write `ca.crt` and `ca.key` (0600) into `folder`.

    Args:
        folder: is there.
        name: what the authority is called.
        now: replaced in tests.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    start = (now or datetime.now(UTC)) - _BACKDATED
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(start)
        .not_valid_after(start + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384()))
    _write_key(folder / "ca.key", key)
    (folder / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def make_server_certificate(folder: Path, hosts: Sequence[str], *, now: datetime | None = None,
                            days: int = SERVER_DAYS) -> None:
    """Write `server.crt` and `server.key` (0600) into `folder`, signed by the authority that lies there.

    Args:
        folder: holds `ca.crt` and `ca.key`.
        hosts: names and addresses by which the server is reached; those of this machine are added.
        now: replaced in tests.
        days: how long it holds, at most: never longer than the authority.

    Raises:
        InputError: if there is no authority, or its time is over.
    """
    authority, signer = _authority(folder)
    key = ec.generate_private_key(ec.SECP384R1())
    start = (now or datetime.now(UTC)) - _BACKDATED
    end = min(start + timedelta(days=days), authority.not_valid_after_utc)
    if end <= start + _BACKDATED:
        raise InputError(str(folder / "ca.crt"), "the authority's own time is over",
                         remedy="make a new home with `leelight coordinator init`; partners have to join it anew")
    names = [_general_name(host) for host in dict.fromkeys([*hosts, "localhost", "127.0.0.1"])]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (hosts[0] if hosts else "localhost")[:64])]))
        .issuer_name(authority.subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(start).not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA384()))
    _write_key(folder / "server.key", key)
    replace_private(folder / "server.crt", certificate.public_bytes(serialization.Encoding.PEM))


def make_node_key(folder: Path) -> None:
    """Write a SuperNode's key, as Flower wants it: `node.key` (0600), P-384 in OpenSSH's format."""
    key = ec.generate_private_key(ec.SECP384R1())
    replace_private(folder / "node.key", key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()))


def node_public_key(folder: Path) -> str:
    """The public part of `node.key`, in one line.

    Raises:
        InputError: if the key is missing, others can read it, or it is none.
    """
    path = folder / "node.key"
    try:
        key = serialization.load_ssh_private_key(read_secret(path), password=None)
    except (ValueError, UnsupportedAlgorithm) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(str(path), "is not a node's key", remedy="join again with --new-key") from None
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def check_node_public_key(text: str) -> str:
    """The key in one line, if it is a P-384 public key in OpenSSH's format.

    Raises:
        ValueError: if it is not.
    """
    try:
        key = serialization.load_ssh_public_key(text.strip().encode("ascii"))
    except Exception:  # noqa: BLE001  the library has many kinds of errors for what is damaged
        raise ValueError("not a key in OpenSSH's format") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ValueError("not a P-384 key")
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def check_authority(pem: str) -> x509.Certificate:
    """The certificate of an authority that holds today.

    Raises:
        ValueError: if it is none, or its time has not come or is over.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode("ascii"))
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    except Exception:  # noqa: BLE001  the library has many kinds of errors for what is damaged
        raise ValueError("not a certificate") from None
    if not is_authority:
        raise ValueError("not the certificate of an authority")
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
        raise ValueError("its time has not come or is over")
    return certificate


def days_left(certificate: Path) -> float:
    """Days until a certificate expires; negative once it has.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        raise InputError(str(certificate), "cannot be read as a certificate",
                         remedy="make it anew with `leelight coordinator renew`") from None
    return (ends - datetime.now(UTC)).total_seconds() / 86_400


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    back = "bring it back from a backup"
    try:
        certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    except OSError:
        raise InputError(str(folder / "ca.crt"), "is not there", remedy=back) from None
    except ValueError:
        raise InputError(str(folder / "ca.crt"), "cannot be read as a certificate", remedy=back) from None
    secret = read_secret(folder / "ca.key")
    try:
        key = serialization.load_pem_private_key(secret, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InputError(str(folder / "ca.key"), "cannot be read as a key", remedy=back) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise InputError(str(folder / "ca.key"), "is not the key of ca.crt beside it", remedy=back)
    return certificate, key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    replace_private(path, key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
                         key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                         decipher_only=False)
