"""A real Kubernetes control plane for the tests, without a container engine.

``python -m cluster`` (with PYTHONPATH=tests) starts one and prints its KUBECONFIG;
docs/how-to/cluster-test.md says what of it is real and what is not.
"""
