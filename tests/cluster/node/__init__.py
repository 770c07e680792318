"""A node of the tests' own: what a kubelet does, with local processes and no container engine.

One process is one node. It is PID 1 of a pid namespace, so that its death is the death of all its
pods, as it is when a machine loses its power. :mod:`cluster.node.node` is the test's side of it.
"""
