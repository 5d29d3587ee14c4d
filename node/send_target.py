"""Where `radnode send` sends to: what was asked for, and else the node of this configuration."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from config.settings import Settings
from config.tls_settings import ClientTls
from node.data_directory import PORT_FILE, TLS_PORT_FILE
from node.errors import CannotStart

NO_TLS = ClientTls()


@dataclass(frozen=True, slots=True)
class SendTarget:
    """Address and AE titles of one association; None is what was not given.

    With `tls`, what is not given is this node's TLS port.
    """

    host: str | None
    port: int | None
    called: str | None
    calling: str | None
    tls: ClientTls = NO_TLS

    @property
    def is_complete(self) -> bool:
        """Whether nothing has to be taken from a configuration."""
        return all((self.host, self.port, self.called, self.calling))

    def completed(self, settings: Settings) -> SendTarget:
        """Fill the gaps: to this node, as its first sender, from its own machine.

        Raises `CannotStart` when the node chooses its port itself and does not run.
        """
        senders = settings.receive.senders
        return SendTarget(
            self.host or _reachable(settings.receive.host),
            self.port or (_tls_port(settings) if self.tls.enabled else _port(settings)),
            self.called or settings.node.ae_title,
            self.calling or (senders[0].ae_title if senders else settings.node.ae_title),
            self.tls,
        )

    def address(self) -> tuple[str, int, str, str]:
        """Return host, port, called and calling AE title of a complete target."""
        if not (self.host and self.port and self.called and self.calling):
            raise ValueError("the target is not complete")
        return self.host, self.port, self.called, self.calling


def _reachable(host: str) -> str:
    """An address that means every interface is none to connect to."""
    try:
        return "127.0.0.1" if ip_address(host).is_unspecified else host
    except ValueError:
        return host


def _port(settings: Settings) -> int:
    if settings.receive.port is None:
        raise CannotStart("this node has a TLS port only: give --ca-file, and a certificate")
    return settings.receive.port or _chosen(settings, PORT_FILE, "receive.port")


def _tls_port(settings: Settings) -> int:
    tls = settings.receive.tls
    if not tls.enabled:
        raise CannotStart("this node has no TLS port: enable receive.tls, or give --port")
    return tls.port or _chosen(settings, TLS_PORT_FILE, "receive.tls.port")


def _chosen(settings: Settings, name: str, key: str) -> int:
    try:
        return int((settings.node.data_dir / name).read_text())
    except (OSError, ValueError):
        raise CannotStart(f"{key} is 0 and no node runs: start it, or give --port") from None
