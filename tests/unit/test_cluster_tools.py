"""What of the tests' control plane needs no control plane: versions, skips, what is removed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import certificates, given, programs, reaper
from cluster.errors import ClusterUnavailable, StartFailed
from cluster.waiting import always, eventually

TOOLS = Path(__file__).parents[1] / "cluster/tools"


def test_the_versions_are_those_of_the_go_module() -> None:
    module = (TOOLS / "go.mod").read_text()
    assert f"k8s.io/kubernetes v{programs.KUBERNETES} " in module
    assert f"go.etcd.io/etcd/server/v3 v{programs.ETCD} " in module
    staging = re.findall(r"^\t(k8s\.io/\S+) => (\S+) (\S+)$", module, re.MULTILINE)
    assert len(staging) > 30
    _, minor, patch = programs.KUBERNETES.split(".")
    assert {(name, version) for name, _, version in staging} == {
        (target, f"v0.{minor}.{patch}") for _, target, _ in staging
    }


def test_a_program_that_is_not_built_says_how_to_build_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LANEWAY_KUBERNETES", str(tmp_path))
    with pytest.raises(ClusterUnavailable, match=r"etcd does not exist; run: make cluster-tools"):
        programs.kubernetes("etcd")
    (tmp_path / "etcd").touch()
    assert programs.kubernetes("etcd") == tmp_path / "etcd"


@pytest.mark.parametrize(("value", "expected"), [(None, False), ("own", False), ("given", True)])
def test_whose_cluster_is_used_is_said_by_a_variable(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: bool
) -> None:
    monkeypatch.delenv("LANEWAY_CLUSTER", raising=False)
    if value is not None:
        monkeypatch.setenv("LANEWAY_CLUSTER", value)
    assert given.is_given() is expected


def test_a_misspelt_choice_of_the_cluster_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWAY_CLUSTER", "giben")
    with pytest.raises(ValueError, match="expected own or given, got: 'giben'"):
        given.is_given()


def test_a_given_cluster_needs_a_kubeconfig(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterUnavailable, match="expected KUBECONFIG to name a file"):
        given.Given(tmp_path)


def test_only_what_a_dead_plane_left_is_removed(tmp_path: Path) -> None:
    living = reaper.make_folder(tmp_path)
    # The pid of a living process, but another one's start: the number was given out again.
    dead = tmp_path / f"{reaper.FOLDER_PREFIX}{os.getpid()}-1-abcdefgh"
    other = tmp_path / f"{reaper.FOLDER_PREFIX}notes"
    dead.mkdir()
    other.mkdir()
    reaper.remove_abandoned(tmp_path)
    assert (living.exists(), dead.exists(), other.exists()) == (True, False, True)


def test_the_reaper_removes_the_folder_when_its_maker_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / f"{reaper.FOLDER_PREFIX}x"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-P", reaper.__file__, str(folder)], stdin=subprocess.PIPE
    ) as process:
        assert folder.exists()
        assert process.stdin is not None
        process.stdin.close()
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
    assert not folder.exists()


def test_an_authority_signs_what_its_clients_accept(tmp_path: Path) -> None:
    try:
        certificates.check()
    except ClusterUnavailable as problem:
        pytest.skip(str(problem))
    authority = certificates.Authority(tmp_path, "ca")
    other = certificates.Authority(tmp_path / "other", "ca")
    server = authority.server("s", names=["kubernetes"], addresses=["10.89.0.1"])
    user = authority.client("c", "system:node:a/b", ["system:nodes"])
    for pair in (server, user):
        assert _verify(authority, pair) == 0
        assert _verify(other, pair) != 0
    said = subprocess.run(
        ["openssl", "x509", "-in", user.certificate, "-noout", "-subject"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == "subject=O = system:nodes, CN = system:node:a/b"


def test_a_part_that_does_not_start_says_what_its_log_says(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    said = str(StartFailed("etcd", "not ready after 5 seconds", log))
    assert said.startswith(
        f"etcd: not ready after 5 seconds; its log is {log} and ends:\nline 80\n"
    )


def test_waiting_says_what_it_saw() -> None:
    values = iter([1, 1, 2])
    assert eventually(lambda: next(values), 2, seconds=5) == 2
    with pytest.raises(AssertionError, match=r"expected 3 within 0.1 seconds, saw: 4 at 0 s"):
        eventually(lambda: 4, 3, seconds=0.1)
    with pytest.raises(AssertionError, match="expected 3 all the time, got 4 at 0 s"):
        always(lambda: 4, 3, seconds=1)


def _verify(authority: certificates.Authority, pair: certificates.Pair) -> int:
    files = [str(authority.certificate), str(pair.certificate)]
    command = ["openssl", "verify", "-CAfile", *files]
    return subprocess.run(command, capture_output=True, check=False).returncode
