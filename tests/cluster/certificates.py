"""Certificates of one plane, made by openssl: an authority, and what it signs.

They live as long as the plane's folder; no key leaves it.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.errors import ClusterUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DAYS: Final = "7"
_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A certificate and its key, both PEM files."""

    certificate: Path
    key: Path


class Authority:
    """One certificate authority and the certificates it has signed, in one folder."""

    def __init__(self, folder: Path, name: str) -> None:
        """Make the authority `name` in `folder`, which is made too."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self.own = self._pair(name)
        _openssl(
            *("req", "-x509", *_KEY, "-days", _DAYS, "-subj", f"/CN={name}"),
            *("-addext", "basicConstraints=critical,CA:TRUE"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", str(self.own.key), "-out", str(self.own.certificate)),
        )

    @property
    def certificate(self) -> Path:
        """The authority's own certificate: what its clients trust."""
        return self.own.certificate

    def server(self, name: str, *, names: Sequence[str] = (), addresses: Sequence[str]) -> Pair:
        """A certificate for a server that is reached by `names` and `addresses`."""
        alternatives = [f"DNS:{n}" for n in names] + [f"IP:{a}" for a in addresses]
        return self._sign(
            name,
            f"/CN={name}",
            "subjectAltName=" + ",".join(alternatives),
            # KEDA's parts are server and client of each other with one certificate.
            "extendedKeyUsage=serverAuth,clientAuth",
        )

    def client(self, name: str, user: str, groups: Sequence[str] = ()) -> Pair:
        """A client's certificate, in files called `name`: Kubernetes' `user`, in `groups`."""
        subject = "".join(f"/O={_escaped(group)}" for group in groups) + f"/CN={_escaped(user)}"
        return self._sign(name, subject, "extendedKeyUsage=clientAuth")

    def _sign(self, name: str, subject: str, *extensions: str) -> Pair:
        pair = self._pair(name)
        added = [part for extension in extensions for part in ("-addext", extension)]
        _openssl(
            *("req", "-x509", *_KEY, "-days", _DAYS, "-subj", subject),
            *("-CA", str(self.own.certificate), "-CAkey", str(self.own.key)),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", "keyUsage=critical,digitalSignature"),
            *added,
            *("-keyout", str(pair.key), "-out", str(pair.certificate)),
        )
        return pair

    def _pair(self, name: str) -> Pair:
        return Pair(
            certificate=self._folder / f"{name}.crt",
            key=self._folder / f"{name}.key",
        )


def service_account_key(folder: Path) -> Pair:
    """The key that signs the tokens of service accounts, and (as `certificate`) its public half."""
    pair = Pair(certificate=folder / "service-accounts.pub", key=folder / "service-accounts.key")
    _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048",
             "-out", str(pair.key))  # fmt: skip
    _openssl("pkey", "-in", str(pair.key), "-pubout", "-out", str(pair.certificate))
    return pair


def check() -> None:
    """Raise ClusterUnavailable unless openssl is here."""
    if shutil.which("openssl") is None:
        raise ClusterUnavailable("the program `openssl` is missing: install the package openssl")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("/", "\\/").replace("+", "\\+")


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"openssl {arguments[0]}: expected exit code 0, got: {done.stderr.strip()}")
