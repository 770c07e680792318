"""Reading LANEWAY_BROKER_URL and its companions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.url import parse_url

from laneway.broker.address import BrokerAddress, broker_address, mask_password
from laneway.errors import SettingsError


def test_default_is_a_rabbitmq_as_installed() -> None:
    address = broker_address(env={})
    assert address.urls == ("amqp://guest:guest@127.0.0.1:5672",)
    assert address.management_url == "http://guest:guest@127.0.0.1:15672"
    assert (address.vhost("jobs"), address.vhost("secure")) == ("jobs", "secure")


def test_environment_is_read() -> None:
    address = broker_address(
        env={
            "LANEWAY_BROKER_URL": "amqp://u:p@one; amqp://u:p@two:5673",
            "LANEWAY_MANAGEMENT_URL": "http://admin:secret@one:8080/rabbit/",
            "LANEWAY_VHOST_PREFIX": "staging-",
        }
    )
    assert address.urls == ("amqp://u:p@one:5672", "amqp://u:p@two:5673")
    assert address.management_url == "http://admin:secret@one:8080/rabbit"
    assert address.vhost("secure") == "staging-secure"


def test_arguments_win_over_the_environment() -> None:
    env = {"LANEWAY_BROKER_URL": "amqp://wrong", "LANEWAY_VHOST_PREFIX": "wrong-"}
    address = broker_address(["amqp://u:p@right"], vhost_prefix="", env=env)
    assert address.urls == ("amqp://u:p@right:5672",)
    assert address.vhost("jobs") == "jobs"


@pytest.mark.parametrize(
    ("url", "management"),
    [
        ("amqp://u:p@h", "http://u:p@h:15672"),
        ("amqps://u:p@h:5999", "https://u:p@h:15671"),
        ("pyamqp://h", "http://guest:guest@h:15672"),
        ("amqp://u:p@[::1]:5672/", "http://u:p@[::1]:15672"),
    ],
)
def test_management_is_derived_from_the_first_broker(url: str, management: str) -> None:
    assert broker_address([url, "amqp://other"], env={}).management_url == management


def test_management_without_a_user_takes_the_brokers() -> None:
    address = broker_address("amqp://u:p@h", "https://console.example", env={})
    assert address.management_url == "https://u:p@console.example"


def test_kombu_reads_what_was_meant() -> None:
    address = broker_address(
        "amqp://u:p%2F%3B@one,amqps://u:q@two?ssl_ca_certs=/ca.pem", vhost_prefix="a.", env={}
    )
    one, two = map(parse_url, address.kombu_urls("secure").split(";"))
    assert (one["transport"], one["hostname"], one["port"]) == ("pyamqp", "one", 5672)
    assert (one["userid"], one["password"], one["virtual_host"]) == ("u", "p/;", "a.secure")
    assert (two["transport"], two["port"], two["ssl"]) == (
        "amqps",
        5671,
        {"ssl_ca_certs": "/ca.pem"},
    )


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_any_user_and_password_arrive_at_kombu(user: str, password: str) -> None:
    address = broker_address("amqp://h", env={}).as_user(user, password)
    again = broker_address(address.urls, env={})
    read = parse_url(again.kombu_urls("jobs"))
    assert (read["userid"], read["password"]) == (user, password)
    assert again.users() == (user,)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "got nothing"),
        (" , ", "got nothing"),
        ("redis://h", "got the scheme 'redis'"),
        ("http://h", "schemes: amqp, pyamqp, amqps, librabbitmq"),
        ("h:5672", "without a host"),
        ("amqp://", "without a host"),
        ("amqp://h/orders", "expected no virtual host, got 'orders'"),
        ("amqp://h?heartbeat=3", "'heartbeat'"),
        ("amqp://h:port", "cannot be read"),
        ("amqp://h:70000", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(url: str, expected: str) -> None:
    with pytest.raises(SettingsError, match="LANEWAY_BROKER_URL") as caught:
        broker_address(url, env={})
    assert expected in str(caught.value)


@pytest.mark.parametrize("prefix", ["a/b", "a b", "x" * 101, "ä"])
def test_a_prefix_that_would_need_quoting_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError, match="LANEWAY_VHOST_PREFIX"):
        broker_address(vhost_prefix=prefix, env={})


PASSWORD = "geheim"


@pytest.mark.parametrize(
    "url",
    [
        f"amqp://u:{PASSWORD}@h/vhost",
        f"amqp://u:{PASSWORD}@h:bad",
        f"amqp://u:{PASSWORD}/1@h",
        f"amqp://{PASSWORD}/{PASSWORD}@h",
        f"amqp://u:1?{PASSWORD}@h",
        f"amqp://u:1#{PASSWORD}@h",
        f"amqp://u:{PASSWORD}@h?{PASSWORD}@",
        f"redis://u:{PASSWORD}@h",
        f"u:{PASSWORD}@h",
        f"amqp://u:{PASSWORD}@",
        f"amqp://u:{PASSWORD}@[::1",
    ],
)
def test_no_error_shows_the_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        broker_address(url, env={})
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        f"http://u:{PASSWORD}@h:bad",
        f"http://u:{PASSWORD}/1@h",
        f"ftp://u:{PASSWORD}@h",
        f"http://u:{PASSWORD}@",
    ],
)
def test_no_error_shows_the_password_of_the_management_interface(url: str) -> None:
    with pytest.raises(SettingsError, match="LANEWAY_MANAGEMENT_URL") as caught:
        broker_address(None, url, env={})
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None


def test_repr_shows_no_password() -> None:
    address = broker_address(f"amqp://u:{PASSWORD}@h,amqp://v:{PASSWORD}@i", env={})
    assert PASSWORD not in repr(address)
    assert "amqp://u:**@h:5672" in repr(address)
    assert PASSWORD not in mask_password(f"amqp://u:{PASSWORD}@h:bad")


def test_an_address_is_a_value() -> None:
    assert broker_address("amqp://h", env={}) == broker_address(["amqp://h"], env={})
    assert isinstance(broker_address(env={}), BrokerAddress)


# librabbitmq://, the C client for consuming


def test_the_c_client_is_for_consuming_only() -> None:
    address = broker_address("librabbitmq://u:p@one; librabbitmq://u:p@two:5673", env={})
    assert address.consumer == "librabbitmq"
    assert address.kombu_urls("jobs") == "pyamqp://u:p@one:5672/jobs;pyamqp://u:p@two:5673/jobs"
    assert address.consumer_urls("secure") == (
        "laneway-librabbitmq://u:p@one:5672/secure;laneway-librabbitmq://u:p@two:5673/secure"
    )
    assert address.management_url == "http://u:p@one:15672"
    assert address.as_user("v", "q").consumer == "librabbitmq"


def test_py_amqp_consumes_unless_said_otherwise() -> None:
    address = broker_address("amqp://u:p@one; amqp://u:p@two", env={})
    assert address.consumer == "py-amqp"
    assert address.consumer_urls("jobs") == address.kombu_urls("jobs")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("librabbitmq://h?ssl_ca_certs=/ca.pem", "no TLS"),
        ("librabbitmq://h:5671", "no TLS"),
        ("librabbitmq://[::1]", "no IPv6 literals"),
        ("librabbitmq://h,amqp://i", "all members of the cluster or for none, got 1 of 2"),
        ("amqps://h,librabbitmq://i", "all members of the cluster or for none, got 1 of 2"),
        ("librabbitmqs://h", "schemes: amqp"),
        ("librabbitmq://h/jobs", "no virtual host"),
    ],
)
def test_what_the_c_client_cannot_do_is_refused(url: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        broker_address(url, env={})
