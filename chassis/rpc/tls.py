"""TLS between processes, both ways: who is called shows that it is the process it should be, who calls that it is one of us.

Certificates are short-lived, and whoever renews them writes them in the place of the old ones. A server looks at each new
connection, a caller now and then (renewed_channel.py); neither is started anew.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate, load_pem_x509_certificates

from chassis.logs import logger
from chassis.metrics import CERTIFICATE_ENDS
from chassis.settings import ProcessSettings


@dataclass(frozen=True, slots=True)
class Material:
    """What the files hold, in PEM."""

    certificate: bytes
    key: bytes
    authorities: bytes

    def require_fit(self) -> None:
        """Raise ValueError unless the key is the certificate's, and there are authorities."""
        certified = load_pem_x509_certificate(self.certificate).public_key()
        if load_pem_private_key(self.key, None).public_key() != certified:
            raise ValueError("the key is not the certificate's")
        load_pem_x509_certificates(self.authorities)


class MutualTls:
    """The certificate of this process, its key, and the authorities by whose certificates others are believed.

    Raises OSError or ValueError when the files cannot be used.
    """

    def __init__(self, certificate: Path, key: Path, authorities: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._authorities = authorities
        self._material = self._read()
        self._material.require_fit()
        CERTIFICATE_ENDS.labels("rpc").set_function(self._ends)

    @classmethod
    def of(cls, settings: ProcessSettings) -> Self | None:
        """As a process is told; None where calls go in plain text."""
        certificate, key = settings.rpc_tls_certificate, settings.rpc_tls_key
        authorities = settings.rpc_tls_authorities
        if certificate is None or key is None or authorities is None:
            return None
        return cls(certificate, key, authorities)

    def material(self) -> Material:
        """What the files hold now; while they are being replaced, what they held before."""
        try:
            found = self._read()
            if found != self._material:
                found.require_fit()
                self._material = found
                logger().info("tls_renewed")
        except (OSError, ValueError) as error:
            logger().warning("tls_not_renewed", error=str(error))
        return self._material

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a server that takes calls only from who has a certificate of the authorities."""
        return grpc.dynamic_ssl_server_credentials(
            _server_configuration(self._material),
            lambda: _server_configuration(self.material()),
            require_client_authentication=True,
        )

    @staticmethod
    def channel_credentials(material: Material) -> grpc.ChannelCredentials:
        """For a channel that shows this, and believes who has a certificate of the authorities."""
        return grpc.ssl_channel_credentials(material.authorities, material.key, material.certificate)

    def _ends(self) -> float:
        return load_pem_x509_certificate(self.material().certificate).not_valid_after_utc.timestamp()

    def _read(self) -> Material:
        return Material(
            self._certificate.read_bytes(), self._key.read_bytes(), self._authorities.read_bytes()
        )


def _server_configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.certificate)], root_certificates=material.authorities
    )
