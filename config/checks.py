"""Combinations of settings that are each valid and together unsafe or useless.

Each check is one function from `Settings` to the problems it sees; `CHECKS` names them all, with
the sections that each reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from urllib.parse import urlsplit

from config.errors import Problem
from config.network_names import is_loopback
from config.place_checks import (
    database_can_be_addressed,
    folders_can_be_made,
)
from config.settings import (
    DicomDestination,
    FhirDestination,
    Hl7Destination,
    Settings,
    StowDestination,
)
from config.smart_checks import smart_keys_can_be_used
from config.tls_checks import (
    bound_senders_can_prove_themselves,
    certificates_can_be_used,
    peers_are_verified,
    the_tls_port_is_whole,
    tls_is_meant_where_it_is_set_up,
)
from config.web_checks import the_web_port_is_whole

Check = Callable[[Settings], Iterable[Problem]]


def unsafe_combinations(settings: Settings, unsure: Set[str] = frozenset()) -> tuple[Problem, ...]:
    """Every problem that the checks see; empty when the settings may be used.

    `unsure` are sections that do not hold what was meant: checks that read them are left out.
    """
    return tuple(
        problem
        for check, sections in CHECKS.items()
        if unsure.isdisjoint(sections)
        for problem in check(settings)
    )


def _problem(key: str, value: object, message: str) -> Problem:
    return Problem(key=key, value=str(value), source="settings", message=message)


def _strangers_stay_out(settings: Settings) -> Iterable[Problem]:
    receive = settings.receive
    if receive.allow_any_sender and not is_loopback(receive.host):
        yield _problem(
            "receive.allow_any_sender",
            "true",
            f"anyone could send to {receive.host}: list receive.senders, or listen on 127.0.0.1",
        )
    if not receive.require_called_ae_title and not is_loopback(receive.host):
        yield _problem(
            "receive.require_called_ae_title",
            "false",
            "allowed on a loopback address only: set true",
        )
    if not receive.allow_any_sender and not receive.senders:
        yield _problem(
            "receive.senders",
            "[]",
            "nobody may send: list each PACS by ae_title (and addresses)",
        )


def _senders_have_addresses(settings: Settings) -> Iterable[Problem]:
    if is_loopback(settings.receive.host):
        return
    for number, sender in enumerate(settings.receive.senders):
        is_bound = sender.certificate_fingerprints or sender.certificate_names
        if not sender.addresses and not is_bound:
            yield _problem(
                f"receive.senders[{number}].addresses",
                "[]",
                "an AE title proves nothing: give the sender's addresses, such as 10.1.2.3/32, "
                "or bind it to its TLS certificate (certificate_fingerprints, certificate_names)",
            )
        for place, network in enumerate(sender.addresses):
            if network.prefixlen == 0:
                yield _problem(
                    f"receive.senders[{number}].addresses[{place}]",
                    network,
                    "this is every address there is: give the sender's own, such as 10.1.2.3/32",
                )


def _senders_are_distinct(settings: Settings) -> Iterable[Problem]:
    for number, sender in enumerate(settings.receive.senders):
        for name in ("find", "commitment"):
            host, port = getattr(sender, f"{name}_host"), getattr(sender, f"{name}_port")
            if (host is None) != (port is None):
                yield _problem(
                    f"receive.senders[{number}].{name}_host",
                    host,
                    f"give {name}_host and {name}_port together, or neither",
                )
    counts = Counter(sender.ae_title for sender in settings.receive.senders)
    for title, count in counts.items():
        if count > 1:
            yield _problem("receive.senders", title, "listed more than once")


def _senders_pipelines_are_enabled(settings: Settings) -> Iterable[Problem]:
    for number, sender in enumerate(settings.receive.senders):
        for name in sorted(set(sender.pipelines or ()) - set(settings.pipelines.enabled)):
            yield _problem(
                f"receive.senders[{number}].pipelines", name, "add it to pipelines.enabled, too"
            )


def _leases_outlive_heartbeats(settings: Settings) -> Iterable[Problem]:
    worker = settings.worker
    if worker.lease_s < 2 * worker.heartbeat_s:
        yield _problem(
            "worker.lease_s",
            worker.lease_s,
            f"at least twice worker.heartbeat_s ({worker.heartbeat_s}), "
            "or a living worker's job is given to another",
        )


def _worker_has_work(settings: Settings) -> Iterable[Problem]:
    if settings.worker.enabled and not settings.pipelines.enabled:
        yield _problem("pipelines.enabled", "[]", "enable a pipeline, or set worker.enabled false")


def _destinations_are_distinct(settings: Settings) -> Iterable[Problem]:
    counts = Counter(destination.name for destination in settings.destinations)
    for name, count in counts.items():
        if count > 1:
            yield _problem("destinations", name, "two destinations have this name")


def _results_do_not_loop(settings: Settings) -> Iterable[Problem]:
    for number, destination in enumerate(settings.destinations):
        if (
            isinstance(destination, DicomDestination)
            and destination.ae_title == settings.node.ae_title
            and destination.port in (settings.receive.port, settings.receive.tls.port)
            and is_loopback(destination.host)
        ):
            yield _problem(
                f"destinations[{number}].port",
                destination.port,
                "this is the node itself: its results would come back for ever",
            )


def _patient_data_is_encrypted(settings: Settings) -> Iterable[Problem]:
    for key, url in _http_urls(settings):
        parts = urlsplit(url)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            text = "patient data in clear text: use https"
            yield _problem(key, f"http://{parts.hostname}", text)


def _http_urls(settings: Settings) -> Iterable[tuple[str, str]]:
    for number, destination in enumerate(settings.destinations):
        if isinstance(destination, FhirDestination):
            yield f"destinations[{number}].base_url", destination.base_url
        elif isinstance(destination, StowDestination):
            yield f"destinations[{number}].url", destination.url
    for number, sender in enumerate(settings.receive.senders):
        if sender.qido_url is not None:
            yield f"receive.senders[{number}].qido_url", sender.qido_url


def _messages_are_encrypted(settings: Settings) -> Iterable[Problem]:
    for number, destination in enumerate(settings.destinations):
        if not isinstance(destination, Hl7Destination):
            continue
        if not destination.tls.enabled and not is_loopback(destination.host):
            yield _problem(
                f"destinations[{number}].tls.enabled",
                "false",
                f"patient data in clear text to {destination.host}: set true",
            )


def _logins_are_whole(settings: Settings) -> Iterable[Problem]:
    for number, destination in enumerate(settings.destinations):
        if not isinstance(destination, StowDestination):
            continue
        key = f"destinations[{number}].user"
        if (destination.user is None) != (destination.password is None):
            yield _problem(key, destination.user, "give user and password together, or neither")
        elif destination.user is not None and destination.bearer_token is not None:
            yield _problem(key, destination.user, "one login at a time: leave bearer_token out")
        if ":" in (destination.user or ""):
            yield _problem(key, destination.user, "a user name has no colon (RFC 7617)")


def _retries_grow(settings: Settings) -> Iterable[Problem]:
    for number, destination in enumerate(settings.destinations):
        retry = destination.retry
        if retry.longest_s < retry.first_s:
            yield _problem(
                f"destinations[{number}].retry.longest_s",
                retry.longest_s,
                f"at least retry.first_s ({retry.first_s})",
            )


CHECKS: Mapping[Check, tuple[str, ...]] = {
    _strangers_stay_out: ("receive",),
    _senders_have_addresses: ("receive",),
    _senders_are_distinct: ("receive",),
    _leases_outlive_heartbeats: ("worker",),
    _worker_has_work: ("worker", "pipelines"),
    _destinations_are_distinct: ("destinations",),
    _results_do_not_loop: ("node", "receive", "destinations"),
    _patient_data_is_encrypted: ("receive", "destinations"),
    _messages_are_encrypted: ("destinations",),
    smart_keys_can_be_used: ("destinations",),
    _logins_are_whole: ("destinations",),
    _retries_grow: ("destinations",),
    database_can_be_addressed: ("storage",),
    folders_can_be_made: ("node", "destinations"),
    _senders_pipelines_are_enabled: ("receive", "pipelines"),
    certificates_can_be_used: ("receive", "destinations", "web"),
    the_tls_port_is_whole: ("receive",),
    bound_senders_can_prove_themselves: ("receive",),
    tls_is_meant_where_it_is_set_up: ("receive", "destinations", "web"),
    peers_are_verified: ("receive", "destinations"),
    the_web_port_is_whole: ("receive", "destinations", "web"),
}
