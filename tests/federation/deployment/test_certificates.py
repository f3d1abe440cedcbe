"""Whom a certificate made here proves to be whom, judged by a TLS handshake and by another verifier."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federation.deployment.certificates import (
    AUTHORITY_DAYS,
    SERVER_DAYS,
    check_authority,
    check_node_public_key,
    days_left,
    make_authority,
    make_node_key,
    make_server_certificate,
    node_public_key,
)
from federation.deployment.serving import trusting
from federation.errors import InputError

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and a server called leelight.example.org, also reached as 192.0.2.7."""
    folder = tmp_path_factory.mktemp("made")
    make_authority(folder, "north-desk authority")
    make_server_certificate(folder, ("leelight.example.org", "192.0.2.7"))
    return folder


def handshake(server: Path, trusted: Path, host: str) -> None:
    """A whole TLS handshake in memory.

    Raises:
        ssl.SSLCertVerificationError: if the client does not believe the server.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server / "server.crt", server / "server.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(trusted / "ca.crt").wrap_bio(to_client, to_server, server_hostname=host)
    behind = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (client, behind):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


def verified(folder: Path, host: str, *, trusted: Path | None = None, at: datetime = NOW) -> None:
    """The same by cryptography's verifier, at any time.

    Raises:
        verification.VerificationError: if the chain does not hold.
    """
    import ipaddress

    try:
        subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    store = verification.Store([load((trusted or folder) / "ca.crt")])
    verification.PolicyBuilder().store(store).time(at).build_server_verifier(subject).verify(
        load(folder / "server.crt"), [])


@pytest.mark.parametrize("host", ["leelight.example.org", "192.0.2.7", "localhost", "127.0.0.1"])
def test_the_server_is_believed_under_each_of_its_names(made: Path, host: str) -> None:
    handshake(made, made, host)
    verified(made, host)


@pytest.mark.parametrize("host", ["other.example.org", "example.org", "x.leelight.example.org", "192.0.2.8",
                                  "127.0.0.2"])
def test_under_no_other_name(made: Path, host: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, made, host)
    with pytest.raises(verification.VerificationError):
        verified(made, host)


def test_not_by_another_authority_of_the_same_name(made: Path, tmp_path: Path) -> None:
    make_authority(tmp_path, "north-desk authority")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, tmp_path, "localhost")
    with pytest.raises(verification.VerificationError):
        verified(made, "localhost", trusted=tmp_path)


@pytest.mark.parametrize("at", [NOW - 2 * DAY, NOW + (SERVER_DAYS + 1) * DAY])
def test_not_before_nor_after_its_time(made: Path, at: datetime) -> None:
    with pytest.raises(verification.VerificationError):
        verified(made, "localhost", at=at)


@pytest.mark.parametrize(("now", "days"), [(NOW - 3 * DAY, 1), (NOW + 3 * DAY, 10)])
def test_a_handshake_out_of_its_time_fails(tmp_path: Path, now: datetime, days: int) -> None:
    make_authority(tmp_path, "a", now=NOW - 30 * DAY)
    make_server_certificate(tmp_path, (), now=now, days=days)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, tmp_path, "localhost")


def test_a_server_cannot_vouch_for_others(made: Path) -> None:
    authority, server = load(made / "ca.crt"), load(made / "server.crt")
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert server.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(False, None)
    of_authority = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    of_server = server.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (of_authority.key_cert_sign, of_authority.digital_signature) == (True, False)
    assert (of_server.key_cert_sign, of_server.crl_sign, of_server.digital_signature) == (False, False, True)
    assert list(server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH]


def test_keys_are_private_and_fresh(made: Path, tmp_path: Path) -> None:
    make_authority(tmp_path, "a")
    make_server_certificate(tmp_path, ())
    first = (tmp_path / "server.key").read_bytes()
    make_server_certificate(tmp_path, ())
    assert (tmp_path / "server.key").read_bytes() != first
    for folder in (made, tmp_path):
        assert {(folder / name).stat().st_mode & 0o777 for name in ("ca.key", "server.key")} == {0o600}
    assert load(tmp_path / "server.crt").serial_number != load(made / "server.crt").serial_number


def test_a_certificate_does_not_outlive_its_authority(tmp_path: Path) -> None:
    make_authority(tmp_path, "a", now=NOW - (AUTHORITY_DAYS - 100) * DAY)
    make_server_certificate(tmp_path, ())
    assert load(tmp_path / "server.crt").not_valid_after_utc == load(tmp_path / "ca.crt").not_valid_after_utc
    assert 99 < days_left(tmp_path / "server.crt") < 100


def test_an_authority_whose_time_is_over_makes_none(tmp_path: Path) -> None:
    make_authority(tmp_path, "a", now=NOW - (AUTHORITY_DAYS + 1) * DAY)
    with pytest.raises(InputError, match=r"ca\.crt: the authority's own time is over"):
        make_server_certificate(tmp_path, ())
    assert not (tmp_path / "server.key").exists()


@pytest.mark.parametrize(("name", "content", "words"), [
    ("ca.crt", None, "is not there"), ("ca.crt", b"", "cannot be read as a certificate"),
    ("ca.crt", b"\xff", "cannot be read as a certificate"), ("ca.key", None, "is missing"),
    ("ca.key", b"junk", "cannot be read as a key"),
    ("ca.key", ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
     "is not the key of ca.crt"),
    ("ca.key", ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")),
     "cannot be read as a key"),
], ids=[f"case-{i}" for i in range(7)])
def test_an_authority_that_is_not_whole_is_refused(tmp_path: Path, name: str, content: bytes | None, words: str
                                                   ) -> None:
    make_authority(tmp_path, "a")
    path = tmp_path / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        make_server_certificate(tmp_path, ())
    assert caught.value.name == str(path)
    assert "backup" in caught.value.remedy


def test_an_authoritys_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    make_authority(tmp_path, "a")
    (tmp_path / "ca.key").chmod(0o640)
    with pytest.raises(InputError, match="0640"):
        make_server_certificate(tmp_path, ())


def test_long_names_fit(tmp_path: Path) -> None:
    make_authority(tmp_path, "n" * 200)
    host = ".".join(["h" * 60] * 4)
    make_server_certificate(tmp_path, (host,))
    verified(tmp_path, host)


def test_an_authority_is_told_from_anything_else(made: Path) -> None:
    check_authority((made / "ca.crt").read_text())
    for text in ("", "x", (made / "server.crt").read_text(), (made / "ca.key").read_text(), "é"):
        with pytest.raises(ValueError):  # noqa: PT011  several libraries' words
            check_authority(text)


@pytest.mark.parametrize("now", [NOW + 2 * DAY, NOW - (AUTHORITY_DAYS + 1) * DAY])
def test_an_authority_out_of_its_time_is_none(tmp_path: Path, now: datetime) -> None:
    make_authority(tmp_path, "a", now=now)
    with pytest.raises(ValueError, match="time"):
        check_authority((tmp_path / "ca.crt").read_text())


def test_a_certificate_that_does_not_say_what_it_is_for_is_none() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    bare = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(NOW - DAY).not_valid_after(NOW + DAY).sign(key, hashes.SHA256()))
    with pytest.raises(ValueError, match="authority"):
        check_authority(bare.public_bytes(serialization.Encoding.PEM).decode())


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\n"])
def test_days_left_of_what_is_no_certificate(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "server.crt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="leelight coordinator renew"):
        days_left(path)


def test_days_left_counts_down_and_below(tmp_path: Path) -> None:
    make_authority(tmp_path, "a", now=NOW - 30 * DAY)
    make_server_certificate(tmp_path, (), now=NOW - 3 * DAY, days=1)
    assert -2.1 < days_left(tmp_path / "server.crt") < -1.9


# Keys of nodes


def test_a_nodes_key_is_one_that_flower_takes(tmp_path: Path) -> None:
    from flwr.supercore.primitives.asymmetric import uses_nist_ec_curve

    make_node_key(tmp_path)
    line = node_public_key(tmp_path)
    assert check_node_public_key(line) == line
    assert check_node_public_key(f" {line} somebody@somewhere \n") == line
    key = serialization.load_ssh_public_key(line.encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert uses_nist_ec_curve(key)
    assert (tmp_path / "node.key").stat().st_mode & 0o777 == 0o600


def ssh(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


@pytest.mark.parametrize("text", [
    "", "x", "é", "ssh-foo AAAA", "ecdsa-sha2-nistp384 AAAA", "sk-ssh-ed25519@openssh.com AAAA", "ssh-dss AAAA",
    ssh(ec.generate_private_key(ec.SECP256R1())), ssh(ed25519.Ed25519PrivateKey.generate()),
    ssh(rsa.generate_private_key(65537, 2048)),
    ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
], ids=[f"case-{i}" for i in range(11)])
def test_other_keys_are_none_of_a_node(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  several libraries' words
        check_node_public_key(text)


@pytest.mark.parametrize("content", [b"", b"junk", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_a_nodes_key_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "node.key").write_bytes(content)
    (tmp_path / "node.key").chmod(0o600)
    with pytest.raises(InputError, match="--new-key"):
        node_public_key(tmp_path)
