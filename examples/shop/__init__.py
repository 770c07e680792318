"""A small order service on Laneway: real purchases through orders, payment, shipping and mail.

``make run`` runs it on a private local platform (:mod:`shop.cli`), and ``laneway up`` lets it
stay. The tasks are in ``orders``, ``payment``, ``shipping``, ``mail``, ``crawl``,
``reports`` and ``payroll``; where each of them goes is in the policy's ``routing.py``.
"""
