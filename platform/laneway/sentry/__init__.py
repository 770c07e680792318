"""Sentry: one finding for each cause of failures, with what to type on it.

* :mod:`laneway.sentry.config` reads the settings;
* :mod:`laneway.sentry.reporter` reports failures: it asks :mod:`laneway.sentry.storm`, makes the
  event (:mod:`laneway.sentry.event`) and hands it to the SDK;
* :mod:`laneway.sentry.sdk` and :mod:`laneway.sentry.scopes` are all that imports ``sentry_sdk``,
  which is an extra: ``pip install 'laneway[sentry]'``;
* :mod:`laneway.sentry.scrub` and :mod:`laneway.sentry.secure` decide what may leave.
"""

from laneway.sentry.config import Config, read_config
from laneway.sentry.event import event_id_of
from laneway.sentry.ownership import ownership_rules
from laneway.sentry.reporter import Reporter
from laneway.sentry.start import reporter_for
from laneway.sentry.storm import Held, Storm

__all__ = [
    # The settings
    "Config",
    "read_config",
    # Reporting
    "Reporter",
    "event_id_of",
    "reporter_for",
    # Storms
    "Held",
    "Storm",
    # Whose tasks they are
    "ownership_rules",
]
