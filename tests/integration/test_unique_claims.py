"""What a call of a unique task claims on a real Redis, and when that ends; no broker is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from laneway import Laneway, Unique
from laneway.broker import broker_address
from laneway.errors import ClaimsUnreachable, OptionRefused, PublishTimeout, QueueFull
from laneway.once.job_key import SECRET
from laneway.once.marks import Marks
from laneway.publish import taker
from support.workers import make_app

if TYPE_CHECKING:
    from redis import Redis

    from laneway.facts import FactKind
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

# Nothing is ever published over it.
NOWHERE = broker_address("amqp://nobody:here@127.0.0.1:1", vhost_prefix="unique-", env={})


@pytest.fixture
def published() -> list[str]:
    return []


@pytest.fixture
def app(redis: PrivateRedis, redis_client: Redis, published: list[str]) -> Laneway:
    app = make_app(NOWHERE, redis.url)

    def send_task(*_: Any, task_id: str, **options: Any) -> Any:
        if taker.current() is not None:
            published.append("in a batch")
        if "refuse" in published:
            published.remove("refuse")
            raise QueueFull("full")
        if "lose" in published:
            published.remove("lose")
            raise PublishTimeout("late", maybe_accepted=True)
        published.append(task_id)
        return app.AsyncResult(task_id)

    app.__dict__["send_task"] = send_task
    return app


def make(app: Laneway, unique: Any, name: str = "plain.unique") -> Any:
    def code(one: int, two: int = 2) -> None:
        """Never runs."""

    return app.task(name=name, shared=False, unique=unique)(code)


def tell(app: Laneway, kind: FactKind, task: Any, task_id: str) -> None:
    app.facts.tell(kind, task=task.name, task_id=task_id)


def test_equal_calls_are_one_however_they_are_written(app: Laneway, published: list[str]) -> None:
    task = make(app, "until-done")
    first = task.delay(1)
    same = [task.delay(1, 2), task.delay(one=1), task.delay(two=2, one=1), task.s(1).apply_async()]
    assert {one.id for one in same} == {first.id}
    assert all(one.is_duplicate for one in same)
    assert not task.delay(1, 3).is_duplicate
    assert len(published) == 2


def test_a_bound_function_is_keyed_without_its_task(app: Laneway, published: list[str]) -> None:
    @app.task(name="plain.bound", shared=False, bind=True, unique=Unique("until-done", key="one"))
    def bound(self: Any, one: int, two: int = 2) -> None:
        """Never runs."""

    results = [bound.delay(*args) for args in [(1,), (1, 3), (2,)]]
    assert [one.is_duplicate for one in results] == [False, True, False]
    assert len(published) == 2


@pytest.mark.parametrize(
    ("unique", "keeps", "ends"),
    [
        ("until-start", ["published", "received"], "started"),
        ("until-done", ["published", "received", "started", "retried"], "succeeded"),
        ("until-done", ["started"], "failed"),
        ("until-done", ["started"], "rejected"),
        ("until-done", ["started"], "dead_lettered"),
        ("until-start", ["received"], "quarantined"),
    ],
)
def test_a_claim_ends_when_its_job_says_so(
    app: Laneway, unique: str, keeps: list[FactKind], ends: FactKind
) -> None:
    task = make(app, unique)
    first = task.delay(1)
    for kind in keeps:
        tell(app, kind, task, first.id)
    tell(app, ends, task, "another")
    assert task.delay(1).is_duplicate
    tell(app, ends, task, first.id)
    assert not task.delay(1).is_duplicate


def test_only_what_was_certainly_refused_leaves_nothing(
    app: Laneway, published: list[str], redis_client: Redis
) -> None:
    task = make(app, "until-done")
    published.append("refuse")
    with pytest.raises(QueueFull):
        task.delay(1)
    assert redis_client.keys("unique-*") == []
    published.append("lose")
    with pytest.raises(PublishTimeout):
        task.delay(1)
    assert task.delay(1).is_duplicate


def test_a_refused_step_does_not_end_the_claim_of_another(
    app: Laneway, published: list[str]
) -> None:
    task = make(app, "until-done")
    first = task.delay(1)
    published.append("refuse")
    with pytest.raises(QueueFull):
        task.apply_async((1,), group_id="g")
    assert task.delay(1).id == first.id


@pytest.mark.parametrize(
    "options", [{"chain": []}, {"group_id": "g"}, {"parent_id": "p"}, {"link": [1]}]
)
def test_whoever_is_waited_for_is_published(
    app: Laneway, published: list[str], options: dict[str, Any]
) -> None:
    task = make(app, "until-done")
    task.delay(1)
    assert not task.apply_async((1,), **options).is_duplicate
    assert len(published) == 2


@pytest.mark.parametrize("unique", ["until-start", "until-done"])
def test_a_retry_is_published_and_lasts_longer(
    app: Laneway, published: list[str], redis_client: Redis, unique: str
) -> None:
    task = make(app, unique)
    first = task.delay(1)
    [key] = redis_client.keys("unique-laneway:unique*")
    redis_client.expire(key, 5)
    again = task.apply_async((1,), task_id=first.id, redelivered=False, retries=1)
    assert not again.is_duplicate
    assert published == [first.id] * 2
    assert (redis_client.ttl(key) > 5) == (unique == "until-done")


def test_a_retry_is_published_whoever_has_the_claim(
    app: Laneway, published: list[str], redis_client: Redis
) -> None:
    task = make(app, "until-done")
    first = task.delay(1)
    redis_client.delete(*redis_client.keys("unique-laneway:unique*"))
    second = task.delay(1)
    again = task.apply_async((1,), task_id=first.id, redelivered=False, retries=1)
    assert (again.id, again.is_duplicate) == (first.id, False)
    assert task.delay(1).id == second.id


def test_a_retry_that_is_refused_keeps_the_claim(app: Laneway, published: list[str]) -> None:
    task = make(app, "until-done")
    first = task.delay(1)
    published.append("refuse")
    with pytest.raises(QueueFull):
        task.apply_async((1,), task_id=first.id, redelivered=False, retries=1)
    assert task.delay(1).is_duplicate


def test_in_a_batch_it_is_confirmed_on_its_own(app: Laneway, published: list[str]) -> None:
    task = make(app, "until-done")
    told: list[tuple[int, str]] = []
    with app.batch(on_accepted=lambda *one: told.append(one)) as batch:
        results = [task.delay(1), task.delay(1), task.delay(2)]
    assert "in a batch" not in published
    assert batch.account.count == 3
    assert told == list(enumerate(one.id for one in results))


def test_a_claim_has_an_end_beyond_the_delay(app: Laneway, redis_client: Redis) -> None:
    task = make(app, Unique("until-done", longest="10s"))
    task.delay(1)
    [key] = redis_client.keys("unique-laneway:unique*")
    assert 9 <= redis_client.ttl(key) <= 10
    task.apply_async((2,), countdown=100)
    assert sorted(
        redis_client.ttl(key) > 11 for key in redis_client.keys("unique-laneway:unique*")
    ) == [False, True]
    assert all(redis_client.ttl(key) > 0 for key in redis_client.keys("unique-*"))


def test_without_redis_it_is_published_unless_strict(app: Laneway, published: list[str]) -> None:
    told: list[Any] = []
    app.facts.listen(told.append)
    app.__dict__["marks"] = Marks("redis://127.0.0.1:1/0")
    task = make(app, "until-done")
    assert not task.delay(1).is_duplicate
    assert not task.delay(1).is_duplicate
    strict = make(app, Unique("until-done", strict=True), "plain.strict")
    with pytest.raises(ClaimsUnreachable, match="Nothing was published") as caught:
        strict.delay(1)
    assert caught.value.task_id
    # Its retry is a job that was accepted.
    strict.apply_async((1,), task_id="1", redelivered=False, retries=1)
    assert len(published) == 3
    assert [fact.kind for fact in told] == ["unguarded", "unguarded", "refused", "unguarded"]


def test_what_a_key_is_made_of_cannot_be_seen(
    app: Laneway, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make(app, "until-done", "vault.unique")
    with pytest.raises(OptionRefused, match=SECRET):
        task.delay(1)
    assert redis_client.keys("unique-*") == []
    monkeypatch.setenv(SECRET, "long and random")
    first = task.delay(1)
    assert task.delay(1).id == first.id
    monkeypatch.setenv(SECRET, "another")
    assert not task.delay(1).is_duplicate


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"unique": "until-end"}, 'expected unique to be "until-start" or "until-done"'),
        ({"unique": True}, "got: True"),
        ({"once": True}, r"expected once to be how long .* got: True"),
        ({"once": "soon"}, "expected keep to be a duration"),
        ({"once": "400d"}, "expected keep to be 1 s to"),
    ],
)
def test_a_wrong_option_is_refused_at_the_decorator(
    app: Laneway, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        app.task(name="plain.wrong", shared=False, **given)
