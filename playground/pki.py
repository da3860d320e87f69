"""Issues the playground's TLS certificates.

One certificate authority per instance, made at start and thrown away with it. Everything is ECDSA P-256:
a key takes a millisecond, an RSA key would take a good part of the start-up time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALIDITY = timedelta(days=365)
CLOCK_SKEW = timedelta(minutes=5)


def _name(common_name: str, organization: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whatever the umask. Raises OSError."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a private key as unencrypted PKCS#8 PEM, mode 0600. Raises OSError."""
    write_private(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def write_signing_pair(private: Path, public: Path) -> None:
    """Write a key pair without certificate (it signs ServiceAccount tokens). Raises OSError."""
    key = ec.generate_private_key(ec.SECP256R1())
    write_key(private, key)
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority; `now` is the moment all its certificates are counted from."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    now: datetime

    @classmethod
    def create(cls, now: datetime | None = None) -> Authority:
        """Make a self-signed authority, valid from shortly before `now` (UTC; default: the clock)."""
        moment = now or datetime.now(UTC)
        key, name = ec.generate_private_key(ec.SECP256R1()), _name("tierwise-playground")
        certificate = (
            _builder(name, name, key.public_key(), moment)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate, moment)

    @property
    def pem(self) -> bytes:
        """Return the public certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def serve(self, folder: Path, stem: str, names: list[str]) -> None:
        """Write `stem`.crt and .key for a server with these DNS names or addresses. Raises OSError."""
        names_extension = x509.SubjectAlternativeName([_alternative(name) for name in names])
        self._issue(folder, stem, _name(names[0]), ExtendedKeyUsageOID.SERVER_AUTH, names_extension)

    def client(self, folder: Path, stem: str, user: str, group: str = "") -> None:
        """Write `stem`.crt and .key that authenticate as a user and group. Raises OSError."""
        self._issue(folder, stem, _name(user, group), ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self,
        folder: Path,
        stem: str,
        subject: x509.Name,
        purpose: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, self.certificate.subject, key.public_key(), self.now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        (folder / f"{stem}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_key(folder / f"{stem}.key", key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
