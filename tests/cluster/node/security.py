"""As whom a container runs and what it may: the pod's and the container's security context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cluster.node.errors import CannotStart, NotSupported

if TYPE_CHECKING:
    from cluster.node.image import Image

#: What a container engine leaves to root where nothing is dropped.
_USUAL: Final = frozenset({
    "chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
    "net_bind_service", "net_raw", "sys_chroot", "mknod", "audit_write", "setfcap",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Rights:
    """As whom a container runs, and what it may."""

    user: int
    group: int
    groups: tuple[int, ...]
    capabilities: tuple[str, ...]
    may_gain: bool
    read_only_root: bool

    @classmethod
    def of(cls, pod: dict[str, Any], container: dict[str, Any], image: Image) -> Rights:
        """Those that the two contexts and the image give.

        Raises:
            CannotStart: ``runAsNonRoot`` is asked for, and it would be root.
        """
        above = pod["spec"].get("securityContext") or {}
        context = {**above, **(container.get("securityContext") or {})}
        if context.get("privileged"):
            raise NotSupported("privileged containers")
        user = context.get("runAsUser", image.user)
        # The group of an image is that of its own user, and of no other.
        group = context.get("runAsGroup", image.group if user == image.user else 0)
        if context.get("runAsNonRoot") and user == 0:
            raise CannotStart(
                "CreateContainerConfigError",
                "container has runAsNonRoot and image will run as root",
            )
        groups = {group, *above.get("supplementalGroups", ())}
        if "fsGroup" in above:
            groups.add(above["fsGroup"])
        changes = context.get("capabilities") or {}
        drop = {name.lower() for name in changes.get("drop", ())}
        kept = set() if "all" in drop else set(_USUAL - drop)
        kept |= {name.lower() for name in changes.get("add", ())}
        return cls(
            user=user,
            group=group,
            groups=tuple(sorted(groups)),
            capabilities=tuple(sorted(kept)),
            may_gain=context.get("allowPrivilegeEscalation", True),
            read_only_root=bool(context.get("readOnlyRootFilesystem")),
        )

    def command(self) -> list[str]:
        """The program that takes on these rights, to put before another."""
        kept = ",".join(f"+{name}" for name in self.capabilities)
        return [
            "setpriv",
            f"--reuid={self.user}",
            f"--regid={self.group}",
            f"--groups={','.join(map(str, self.groups))}",
            "--inh-caps=-all",
            f"--bounding-set=-all{',' if kept else ''}{kept}",
            *(() if self.may_gain else ("--no-new-privs",)),
            "--pdeathsig=KILL",
        ]
