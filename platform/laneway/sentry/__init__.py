"""Sentry: one finding for each cause of failures."""
