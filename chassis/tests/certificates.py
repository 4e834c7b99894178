"""Authorities of a test's own, and the certificates that they issue."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from chassis.rpc.tls import MutualTls


@dataclass(frozen=True)
class Files:
    """Where a process is told to look."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        return self.folder / "tls.key"

    @property
    def authorities(self) -> Path:
        return self.folder / "ca.crt"

    def tls(self) -> MutualTls:
        return MutualTls(self.certificate, self.key, self.authorities)


@dataclass(frozen=True)
class Authority:
    """One that is believed by whoever has its certificate."""

    name: str
    key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))

    def issue(self, folder: Path, process: str, lasts: timedelta = timedelta(hours=1)) -> Files:
        """Write a certificate for a process, its key and this authority into a folder, whatever was there."""
        folder.mkdir(exist_ok=True)
        files, key = Files(folder), generate_private_key(SECP256R1())
        named = x509.SubjectAlternativeName([x509.DNSName(process), x509.IPAddress(ip_address("127.0.0.1"))])
        certificate = (
            self._builder(process, key)
            .not_valid_after(datetime.now(UTC) + lasts)
            .add_extension(named, critical=False)
            .sign(self.key, SHA256())
            .public_bytes(Encoding.PEM)
        )
        files.certificate.write_bytes(certificate)
        files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        files.authorities.write_bytes(self.certificate())
        return files

    def certificate(self) -> bytes:
        """Its own, in PEM."""
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = self._builder(self.name, self.key).not_valid_after(datetime.now(UTC) + timedelta(hours=1))
        certificate = builder.add_extension(constraints, critical=True)
        return certificate.sign(self.key, SHA256()).public_bytes(Encoding.PEM)

    def _builder(self, subject: str, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
