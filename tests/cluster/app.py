"""The application of pods and producers: the chaos suite's job, and the same as a secure one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.apps import NotPublished
from chaos.apps.laneway import Chaos, job
from cluster.load import QUEUES
from laneway import Laneway
from laneway.errors import PublishError

if TYPE_CHECKING:
    from chaos.workload import Call

app = Laneway("chaos")
_open = Chaos(app)
#: routing.py leads this name to the secure queue; no ``queue=`` leads there.
_secure = app.task(name="shop.payroll.job", bind=True, ignore_result=True)(job)


def publish(call: Call) -> None:
    """Publish as a service would.

    Raises:
        NotPublished: not everything was accepted.
    """
    if QUEUES[call.jobs[0].queue] != "secure":
        _open.publish(call)
        return
    for each in call.jobs:
        try:
            _secure.apply_async(each.arguments, priority=each.priority)
        except PublishError as error:
            refused = set() if error.maybe_accepted else {each.number}
            raise NotPublished(type(error).__name__, refused=refused) from error
