from __future__ import annotations

from typing import Any

import pytest

from cluster.node.api import Change
from cluster.node.services import Services


def service(name: str = "web", space: str = "a", ip: str = "10.96.0.7", **spec: Any) -> Change:
    return Change(
        {"metadata": {"name": name, "namespace": space}, "spec": {"clusterIP": ip, **spec}}
    )


def ends(*addresses: str, ready: bool | None = True, name: str = "web-1") -> Change:
    endpoints = [{"addresses": [each], "conditions": {"ready": ready}} for each in addresses]
    meta = {"name": name, "namespace": "a", "labels": {"kubernetes.io/service-name": "web"}}
    return Change({"metadata": meta, "endpoints": endpoints})


def test_names_lead_to_a_ready_endpoint_and_stay_there() -> None:
    services = Services()
    services.note_service(service())
    services.note_slice(ends("10.89.1.5", "10.89.1.6"))
    full = dict.fromkeys(("web.a", "web.a.svc", "web.a.svc.cluster.local"), "10.89.1.5")
    assert services.names("b") == services.names(None) == full
    assert services.names("a") == {"web": "10.89.1.5", **full}
    services.note_slice(ends("10.89.1.4", "10.89.1.5"))
    assert services.names("a")["web"] == "10.89.1.5"
    services.note_slice(ends("10.89.1.4"))
    assert services.names("a")["web"] == "10.89.1.4"


@pytest.mark.parametrize("ready", [True, None])
def test_an_endpoint_of_unknown_state_is_taken(ready: bool | None) -> None:
    services = Services()
    services.note_service(service())
    services.note_slice(ends("10.89.1.5", ready=ready))
    assert services.names("a")["web"] == "10.89.1.5"


def test_without_a_ready_endpoint_the_name_leads_nowhere() -> None:
    services = Services()
    services.note_service(service())
    services.note_slice(ends("10.89.1.5", ready=False))
    assert services.names("a")["web"] == "10.96.0.7"


def test_a_headless_service_without_endpoints_has_no_name() -> None:
    services = Services()
    services.note_service(service(ip="None"))
    assert services.names("a") == {}


def test_what_is_gone_has_no_name() -> None:
    services = Services()
    services.note_service(service())
    services.note_service(Change(service().document, is_gone=True))
    services.note_slice(ends("10.89.1.5"))
    assert services.names("a") == {}
    assert not list(services.of("a"))


def test_a_port_that_would_need_kube_proxy_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    ports = [{"port": 80, "targetPort": 8080}]
    Services().note_service(service(selector={"app": "web"}, ports=ports))
    assert "expected targetPort 80" in capsys.readouterr().err
