"""The benchmarks: Laneway and its peers on one broker, each in processes of its own.

``laneway bench`` runs them (``laneway.cli.bench``); the words to it are in docs/how-to/bench.md.
What the measured processes import (``apps``, ``agent``, ``jobs``, ``ledger``) needs nothing but
Python and the system itself, because it also runs in the virtual environment of the peers.
"""
