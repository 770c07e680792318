"""Laneway with one promise broken on purpose: the suite has to see each of them red.

Only the tests of the suite choose these. Each breaks its promise with what Celery and Laneway offer
for extending them, so that nothing of the engine has to know of it.
"""
