"""The volumes of a pod, as folders of the host."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cluster.node.environment import expand, field, resource
from cluster.node.errors import CannotStart, NotSupported
from cluster.node.root import Mount

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cluster.node.environment import Document, Objects

    Token = Callable[[Document], Awaitable[bytes]]

_DATA: Final = "..data"
_MODE: Final = 0o644


class Volumes:
    """All volumes of one pod.

    Args:
        folder: an empty folder of the pod's own.
        pod: its document.
        objects: where Secrets and ConfigMaps are looked up.
        token: makes a token of the pod's service account, as a projection asks for it.
    """

    def __init__(self, folder: Path, pod: Document, objects: Objects, token: Token) -> None:
        self._folder = folder
        self._pod = pod
        self._objects = objects
        self._token = token
        self._tokens: dict[str, bytes] = {}
        self._group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        self._written: dict[str, dict[str, tuple[bytes, int]]] = {}
        self._mounted: list[Path] = []

    async def prepare(self) -> None:
        """Make all of them; may be called again after it failed.

        Raises:
            CannotStart: a Secret or ConfigMap is not there yet.
        """
        for volume in self._pod["spec"].get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                if asked := source.get("serviceAccountToken"):
                    path = asked["path"]
                    if path not in self._tokens:
                        self._tokens[path] = await self._token(asked)
            self._make(volume)

    def refresh(self) -> None:
        """Write again what is made of Secrets and ConfigMaps, where they changed."""
        for volume in self._pod["spec"].get("volumes") or ():
            if volume["name"] in self._written:
                self._write(volume, self._content(volume))

    def mounts(self, container: Document, variables: Mapping[str, str]) -> list[Mount]:
        """Those of a container, the outer before the inner ones."""
        mounts = []
        kinds = {volume["name"]: volume for volume in self._pod["spec"].get("volumes") or ()}
        for mount in container.get("volumeMounts") or ():
            volume = kinds[mount["name"]]
            source = self._place(volume)
            inside = mount.get("subPath") or expand(mount.get("subPathExpr", ""), variables)
            if inside:
                source = source / inside
                if not source.exists():
                    source.mkdir(parents=True)
                    source.chmod(self._place(volume).stat().st_mode)
            fixed = mount["name"] in self._written
            mounts.append(
                Mount(
                    source=source.resolve() if inside else source,
                    target=mount["mountPath"].rstrip("/"),
                    read_only=fixed or mount.get("readOnly", False),
                )
            )
        return sorted(mounts, key=lambda mount: mount.target.count("/"))

    def remove(self) -> None:
        """Remove them, but for folders of the host that were asked for by name."""
        for place in reversed(self._mounted):
            subprocess.run(["umount", "--lazy", str(place)], check=False)
        self._mounted.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- one volume --------------------------------------------------------------------------

    def _place(self, volume: Document) -> Path:
        if path := (volume.get("hostPath") or {}).get("path"):
            return Path(path)
        return self._folder / str(volume["name"])

    def _make(self, volume: Document) -> None:
        place = self._place(volume)
        match volume:
            case {"hostPath": {"path": path, **rest}}:
                if rest.get("type") == "DirectoryOrCreate":
                    place.mkdir(parents=True, exist_ok=True)
                elif not place.exists():
                    raise CannotStart("ContainerCreating", f"hostPath {path} does not exist")
            case {"emptyDir": wish}:
                self._make_empty(place, wish or {})
            case {"secret": _} | {"configMap": _} | {"projected": _} | {"downwardAPI": _}:
                place.mkdir(parents=True, exist_ok=True)
                place.chmod(0o755)
                self._write(volume, self._content(volume))
            case _:
                raise NotSupported(f"volume {volume['name']} ({', '.join(volume.keys())})")

    def _make_empty(self, place: Path, wish: Document) -> None:
        if place.exists():
            return
        place.mkdir(parents=True)
        if wish.get("medium") == "Memory":
            subprocess.run(["mount", "-t", "tmpfs", "memory", str(place)], check=True)
            self._mounted.append(place)
        if self._group is not None:
            os.chown(place, -1, self._group)
        place.chmod(0o2777 if self._group is not None else 0o777)

    def _content(self, volume: Document) -> dict[str, tuple[bytes, int]]:
        match volume:
            case {"secret": source}:
                return self._part({"secret": {**source, "name": source["secretName"]}}, source)
            case {"projected": source}:
                files: dict[str, tuple[bytes, int]] = {}
                for part in source.get("sources") or ():
                    files |= self._part(part, source)
                return files
            case {"configMap": source} | {"downwardAPI": source}:
                return self._part(volume, source)
        raise AssertionError(volume)

    def _part(self, part: Document, mode_of: Document) -> dict[str, tuple[bytes, int]]:
        mode = mode_of.get("defaultMode", _MODE)
        namespace = self._pod["metadata"]["namespace"]
        match part:
            case {"secret": source}:
                data = self._objects.secret(namespace, source["name"])
                return _files("secret", source, data, mode)
            case {"configMap": source}:
                data = self._objects.config_map(namespace, source["name"])
                return _files("configmap", source, data, mode)
            case {"downwardAPI": source}:
                return {
                    item["path"]: (self._downward(item).encode(), item.get("mode", mode))
                    for item in source.get("items") or ()
                }
            case {"serviceAccountToken": source}:
                return {source["path"]: (self._tokens[source["path"]], mode)}
        raise NotSupported(f"a projection of {', '.join(part)}")

    def _downward(self, item: Document) -> str:
        if ref := item.get("fieldRef"):
            return field(self._pod, ref["fieldPath"])
        ref = item["resourceFieldRef"]
        [container] = [
            each for each in self._pod["spec"]["containers"] if each["name"] == ref["containerName"]
        ]
        return resource(container, ref["resource"], ref.get("divisor") or "1")

    def _write(self, volume: Document, files: dict[str, tuple[bytes, int]]) -> None:
        """Put all files there at once: a reader sees the old ones or the new ones."""
        name = volume["name"]
        if self._written.get(name) == files:
            return
        place = self._place(volume)
        now = place / f"..{time.time_ns()}"
        now.mkdir(mode=0o755)
        for path, (content, mode) in files.items():
            file = now / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            if self._group is not None:
                os.chown(file, -1, self._group)
            file.chmod(mode if self._group is None else mode | 0o440)
        draft, data = place / "..data_tmp", place / _DATA
        before = data.resolve() if data.is_symlink() else None
        draft.symlink_to(now.name)
        draft.replace(data)
        tops = {path.split("/", 1)[0] for path in files}
        for top in tops:
            if not (place / top).is_symlink():
                (place / top).symlink_to(f"{_DATA}/{top}")
        for old in place.iterdir():
            if not old.name.startswith("..") and old.name not in tops:
                old.unlink()
        if before is not None:
            shutil.rmtree(before)
        self._written[name] = files


def _files(
    kind: str, source: Document, data: Mapping[str, bytes] | None, mode: int
) -> dict[str, tuple[bytes, int]]:
    name, optional = source["name"], source.get("optional", False)
    if data is None:
        if optional:
            return {}
        raise CannotStart(
            "ContainerCreating", f'MountVolume.SetUp failed: {kind} "{name}" not found'
        )
    items: list[dict[str, Any]] | None = source.get("items")
    if items is None:
        return {key: (value, mode) for key, value in data.items()}
    files = {}
    for item in items:
        if item["key"] in data:
            files[item["path"]] = (data[item["key"]], item.get("mode", mode))
        elif not optional:
            raise CannotStart(
                "ContainerCreating", f"references non-existent {kind} key: {name}/{item['key']}"
            )
    return files
