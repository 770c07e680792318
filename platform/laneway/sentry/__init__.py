"""Sentry: one finding for each cause of failures, with what to type on it.

* :mod:`laneway.sentry.config` reads the settings;
* :mod:`laneway.sentry.reporter` reports failures: it asks :mod:`laneway.sentry.storm`, makes the
  event (:mod:`laneway.sentry.event`) and hands it to the SDK;
* :mod:`laneway.sentry.sdk` and :mod:`laneway.sentry.scopes` are all that imports ``sentry_sdk``,
  which is an extra: ``pip install 'laneway[sentry]'``;
* :mod:`laneway.sentry.scrub` and :mod:`laneway.sentry.secure` decide what may leave.
"""
