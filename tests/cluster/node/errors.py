"""What keeps a container from starting, in the words that the kubelet has for it."""

from __future__ import annotations


class CannotStart(Exception):
    """A container cannot start as things stand; it is tried again.

    Args:
        reason: the kubelet's word: CreateContainerConfigError, ImagePullBackOff …
        message: what was expected and what was found.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class NotSupported(CannotStart):
    """A pod asks for what this node does not do. (A real one would: the test must know.)"""

    def __init__(self, what: str) -> None:
        super().__init__("NotSupported", f"the node of the tests does not support {what}")
