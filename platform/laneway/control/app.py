"""The application of the control process: it publishes and keeps results, and runs no task.

A job's error callbacks and the end of its chord are published from here, as jobs. Celery would call
some of them right here, in the process that notices the failure; a process that stands for all
queues, the secure one among them, must not run the code of any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery.app.registry import TaskRegistry

from laneway.app import Laneway

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Beginnings of the settings that say where results are and how they are kept.
_OF_RESULTS: Final = (
    *("result_", "redis_", "database_", "mongodb_", "cassandra_", "couchbase_", "arangodb_"),
    *("elasticsearch_", "dynamodb_", "s3_", "azureblockblob_", "gcs_", "cosmosdbsql_", "cache_"),
    "override_backends",
)


class _NoTasks(TaskRegistry):
    """Stays empty, whatever ``@shared_task`` and Celery itself bring in."""

    def __setitem__(self, name: str, task: Any) -> None:
        """Leave it out."""


class ControlApp(Laneway):
    """A Laneway application without tasks.

    Args:
        project: whose policy, broker and result settings are used; those of the environment if
            None.
        **options: as of :class:`laneway.Laneway`.
    """

    registry_cls = _NoTasks

    def __init__(self, project: Laneway | None = None, **options: Any) -> None:
        if project is not None:
            options = {"policy": project.policy, "address": project.address, **options}
            options["changes"] = _settings_of_results(project.conf)
        super().__init__("laneway.control", set_as_current=False, **options)

    def _read_settings(self) -> Any:
        conf = super()._read_settings()
        # A backend that is away must say so soon: who waits for it is the dead inbox.
        conf.result_backend_transport_options = {
            **conf.result_backend_transport_options,
            "retry_policy": {"max_retries": 1, "interval_start": 0, "interval_max": 0},
        }
        return conf


def _settings_of_results(conf: Any) -> Mapping[str, Any]:
    """What a project set about its results."""
    return {
        name: conf[name]
        for name in conf
        if name.startswith(_OF_RESULTS) and conf.value_set_for(name)
    }
