"""The chaos suite: seeded faults under load, and an account of every job.

``python -m chaos`` (``make chaos``) runs it; docs/how-to/chaos.md says what it shows.
"""
