"""What a Laneway application is made of here, the sound one and the broken ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import amqp
from celery import chain

from chaos.apps import NotPublished
from chaos.jobs import GiveUp, TryAgain, run
from chaos.messages import MALFORMED
from chaos.workload import Kind
from laneway.errors import BatchIncomplete, PublishError
from laneway.publish.frames import Publish, publish_method

if TYPE_CHECKING:
    from chaos.workload import Call, Job
    from laneway import Laneway

#: What no worker has.
NOBODY = "chaos.nobody"


class Chaos:
    """The jobs of an application, and publishing them.

    Args:
        app: the application.
    """

    def __init__(self, app: Laneway) -> None:
        self._app = app
        self._task = app.task(name="chaos.job", bind=True, ignore_result=True, max_retries=5)(job)

    def publish(self, call: Call) -> None:
        """Publish as a service would.

        Raises:
            NotPublished: not everything was accepted.
        """
        try:
            self._publish(call)
        except BatchIncomplete as error:
            account = error.account
            accepted = [call.jobs[place].number for places in account.accepted for place in places]
            maybe = {call.jobs[one.position].number for one in account.maybe_accepted}
            refused = {job.number for job in call.jobs} - {*accepted, *maybe}
            why = f"{type(error.__cause__).__name__}: {account}"
            raise NotPublished(why, accepted=accepted, refused=refused) from error
        except PublishError as error:
            refused = set() if error.maybe_accepted else {job.number for job in call.jobs}
            raise NotPublished(type(error).__name__, refused=refused) from error
        except Exception as error:
            # Anything else is a finding: a caller cannot know what became of the job.
            raise NotPublished(f"UNEXPECTED {type(error).__name__}: {error}") from error

    def _publish(self, call: Call) -> None:
        [first, *_] = call.jobs
        match call.kind:
            case Kind.MANY:
                self._app.publish_many([self._signature(each) for each in call.jobs])
            case Kind.CHAIN:
                chain(*map(self._signature, call.jobs)).apply_async()
            case Kind.DELAY:
                self._task.apply_async(first.arguments, countdown=call.delay, **where(first))
            case Kind.RESULT:
                self._task.apply_async(first.arguments, ignore_result=False, **where(first))
            case Kind.UNKNOWN:
                self._app.send_task(NOBODY, first.arguments, **where(first))
            case Kind.MALFORMED:
                self._app.publisher("jobs").publish(malformed(first))
            case _:
                self._task.apply_async(first.arguments, **where(first))

    def _signature(self, each: Job) -> Any:
        return self._task.si(*each.arguments).set(**where(each))


def job(self: Any, *arguments: int) -> None:
    """The task."""
    try:
        run(arguments, self.request.retries)
    except TryAgain as error:
        raise self.retry(countdown=1, exc=error) from None
    except GiveUp as error:
        raise ValueError(str(error)) from None


def where(each: Job) -> dict[str, Any]:
    """The options of a job."""
    return {"queue": each.queue_name, "priority": each.priority}


def malformed(each: Job) -> Publish:
    """A message that no task can be made of."""
    properties = amqp.Message(content_type="application/json", delivery_mode=2)
    return Publish(
        publish_method("jobs", each.queue_name),
        properties._serialize_properties(),
        MALFORMED.format(each.number).encode(),
    )
