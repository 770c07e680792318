"""The policy as a whole: where it is found, that all its problems come at once, and the lint."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Protocol

import pytest

import laneway.policy.policy
from laneway.errors import PolicyError, UnknownQueue
from laneway.policy import Policy, lint_policy, load_policy, policy_root
from laneway.policy.queues import Queue
from laneway.policy.route import Route

CHECKOUT = Path(__file__).resolve().parents[2]
QUEUE = 'summary = "for tests"\nservice_level = "1s"\n'
SECURE = QUEUE + '[broker]\nvhost = "secure"\n'


class WriteRouting(Protocol):
    """Writes ``routing.py``, after a first line that imports ``Route``."""

    def __call__(self, text: str) -> Path: ...


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A policy of three queues without routes."""
    (tmp_path / "queues").mkdir()
    for name in ("default", "high", "low"):
        (tmp_path / "queues" / f"{name}.toml").write_text(QUEUE)
    (tmp_path / "routing.py").write_text("ROUTES = []\n")
    return tmp_path


@pytest.fixture
def routing(root: Path) -> WriteRouting:
    def write(text: str) -> Path:
        (root / "routing.py").write_text("from laneway import Route\n" + textwrap.dedent(text))
        return root

    return write


def problems(root: Path) -> list[str]:
    with pytest.raises(PolicyError) as refusal:
        load_policy(root)
    return list(refusal.value.problems)


# --- The policy of this repository -----------------------------------------------------------


def test_our_own_policy_is_clean() -> None:
    assert lint_policy(CHECKOUT) == []


def test_our_own_four_queues() -> None:
    policy = load_policy(CHECKOUT)
    assert list(policy.queues) == ["default", "high", "low", "secure"]
    assert policy.default_queue == "default"
    assert list(policy.vhost_queues("jobs")) == ["default", "high", "low"]
    assert list(policy.vhost_queues("secure")) == ["secure"]
    levels = {name: queue.service_level for name, queue in policy.queues.items()}
    assert levels == {"high": 1, "default": 30, "low": 900, "secure": 30}
    for queue in policy.queues.values():
        assert queue.worker.time_limit is not None
        assert queue.consumer_timeout > queue.worker.time_limit


# --- Where it is found -----------------------------------------------------------------------


def test_the_variable_comes_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWAY_POLICY", str(root))
    assert policy_root() == root
    assert load_policy().root == root


@pytest.mark.parametrize("said", [".", "policy", "~/policy"])
def test_the_variable_is_never_relative_to_the_current_directory(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANEWAY_POLICY", said)
    expected = f"LANEWAY_POLICY: expected an absolute path, got: {said!r}"
    with pytest.raises(PolicyError, match="expected an absolute path"):
        policy_root()
    assert lint_policy() == [expected]


def test_without_the_variable_it_is_the_checkouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANEWAY_POLICY", raising=False)
    assert policy_root() == CHECKOUT


def test_an_installed_policy_comes_before_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANEWAY_POLICY", raising=False)
    package = tmp_path / "platform" / "laneway"
    (package / "_policy").mkdir(parents=True)
    (tmp_path / "routing.py").touch()
    monkeypatch.setattr(laneway.policy.policy, "__file__", str(package / "policy" / "policy.py"))
    assert policy_root() == package / "_policy"
    (package / "_policy").rmdir()
    assert policy_root() == tmp_path


def test_the_interpreters_library_is_no_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANEWAY_POLICY", raising=False)
    package = tmp_path / "lib" / "site-packages" / "laneway"
    package.mkdir(parents=True)
    (package.parent.parent / "routing.py").write_text("raise SystemExit('executed')")
    monkeypatch.setattr(laneway.policy.policy, "__file__", str(package / "policy" / "policy.py"))
    with pytest.raises(PolicyError, match="LANEWAY_POLICY: expected the folder of"):
        policy_root()


def test_the_current_directory_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "queues").mkdir()
    for name in ("routing.py", "laneway_policy_routing.py"):
        (tmp_path / name).write_text("raise SystemExit('executed')")
    (tmp_path / "queues" / "default.toml").write_text("broken")
    code = "from laneway.policy import load_policy; print(load_policy().root)"
    environ = {key: value for key, value in os.environ.items() if key != "LANEWAY_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout.strip(), done.stderr) == (str(CHECKOUT), "")


def test_reading_leaves_nothing_behind(routing: WriteRouting) -> None:
    root = routing("ROUTES = []")
    before = sorted(root.rglob("*"))
    load_policy(root)
    assert sorted(root.rglob("*")) == before


def test_an_edited_file_is_read_again(routing: WriteRouting) -> None:
    root = routing('ROUTES = [Route("a.*", queue="low")]')
    stat = (root / "routing.py").stat()
    assert load_policy(root).router.decide("a.x").queue == "low"
    routing('ROUTES = [Route("b.*", queue="low")]')
    os.utime(root / "routing.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert load_policy(root).router.decide("a.x").queue == "default"


# --- The value -------------------------------------------------------------------------------


def test_a_policy_is_read_only(root: Path) -> None:
    policy = load_policy(root)
    with pytest.raises(TypeError):
        policy.queues["new"] = policy.queues["high"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        policy.default_queue = "low"  # type: ignore[misc]


def test_a_queue_by_its_name(root: Path) -> None:
    policy = load_policy(root)
    assert isinstance(policy.queue("high"), Queue)
    with pytest.raises(UnknownQueue, match=r"default, high, low, got: 'hgih', did you mean 'high'"):
        policy.queue("hgih")


def digest(root: Path) -> str:
    return load_policy(root).digest


def test_the_digest_is_of_what_the_policy_says(routing: WriteRouting) -> None:
    routes = [f'Route("m{number}.*", queue="low", priority={number})' for number in range(9)]
    root = routing(f"ROUTES = [{', '.join(routes)}]")
    first = digest(root)
    assert len(first) == 12
    random.Random(1).shuffle(routes)
    routing(f"# other words\nROUTES = [\n{', '.join(routes)},\n]")
    (root / "queues" / "low.toml").write_text(f"# a comment\n{QUEUE}\n[worker]\nconcurrency = 4")
    assert digest(root) == first


@pytest.mark.parametrize(
    "change",
    [
        'routing.py:ROUTES = [Route("a.*", queue="low")]',
        'routing.py:ROUTES = [Route("a.*", queue="high", priority=1)]',
        'routing.py:ROUTES = [Route("a.b", queue="high")]',
        'routing.py:ROUTES = [Route("a.*", queue="high")]\nDEFAULT_QUEUE = "low"',
        f"queues/new.toml:{QUEUE}",
        f"queues/low.toml:{QUEUE}[worker]\nconcurrency = 5",
        f"queues/low.toml:{QUEUE}[scaling]\nmax = 5",
    ],
)
def test_the_digest_changes_with_the_policy(routing: WriteRouting, change: str) -> None:
    root = routing('ROUTES = [Route("a.*", queue="high")]')
    first = digest(root)
    name, _, text = change.partition(":")
    head = "from laneway import Route\n" if name == "routing.py" else ""
    (root / name).write_text(head + text)
    assert digest(root) != first


def test_the_digest_is_the_same_in_every_process(root: Path) -> None:
    code = "import sys, pathlib; from laneway.policy import load_policy as l; "
    code += "print(l(pathlib.Path(sys.argv[1])).digest)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == digest(root)


def test_the_default_queue_is_what_routing_says(routing: WriteRouting) -> None:
    policy = load_policy(routing('DEFAULT_QUEUE = "low"\nROUTES = []'))
    assert policy.default_queue == policy.router.decide("x").queue == "low"


# --- Problems --------------------------------------------------------------------------------


def test_everything_comes_at_once(routing: WriteRouting) -> None:
    root = routing("""\
        ROUTES = [
            Route("a.*", queue="hgih"),
            Route("b.x", quue="high"),
            Route("c.*", queue="low", priority=10),
            Route("d*", queue="low"),
            Route("c.*", queue="high"),
            ("e.*", "low"),
            Route("f.*", queue="low", priority=2),
            Route("f.x", queue="low", priority=2),
        ]
        DEFAULT_QUEUE = "defualt"
        """)
    (root / "queues" / "high.toml").write_text(QUEUE + "[worker]\nconcurrency = 0\npol = 3\n")
    (root / "queues" / "low.toml").write_text("broken")
    expected = [
        (
            "routing.py:3: queue: expected one of the queues default, high, low, got: 'hgih', did "
            "you mean 'high'?"
        ),
        "routing.py:4: Route: unknown key 'quue', did you mean 'queue'?",
        (
            "routing.py:5: priority: expected a whole number from 0 to 9 (higher is more urgent), "
            "got: 10"
        ),
        (
            "routing.py:6: expected a task's name like 'billing.charge' or a module like "
            "'billing.*', got: 'd*'; '.*' stands only at the end"
        ),
        "routing.py:7: 'c.*' is written twice, also in routing.py:5; remove one",
        "routing.py:8: ROUTES[4]: expected Route(...), got: ('e.*', 'low')",
        (
            "routing.py:12: DEFAULT_QUEUE: expected one of the queues default, high, low, got: "
            "'defualt', did you mean 'default'?"
        ),
        "queues/high.toml:4: worker.concurrency: expected a whole number from 1 to 1000, got: 0",
        "queues/high.toml:5: unknown key 'pol' in [worker], did you mean 'pool'?",
        (
            "queues/low.toml:1: not TOML: Expected '=' after a key in a key/value pair (at the end "
            "of the file)"
        ),
    ]
    assert problems(root) == expected
    idle = "routing.py:10: 'f.x' says only what route 'f.*' (routing.py:9) says anyway; remove it"
    assert lint_policy(root) == [*expected[:6], idle, *expected[6:]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ROUTES = [", "routing.py:2: not Python: '[' was never closed"),
        (
            'ROUTES = [\n  Route("a.*", queue="low")\n  Route("b.*", queue="low"),\n]',
            "routing.py:3: not Python: invalid syntax. Perhaps you forgot a comma?",
        ),
        ("import nowhere", "routing.py:2: running it raised ModuleNotFoundError: No module named"),
        (
            "def f():\n    return 1 / 0\n\nROUTES = [f()]",
            "routing.py:3: running it raised ZeroDivisionError: division by zero",
        ),
        ("raise SystemExit(3)", "routing.py:2: running it raised SystemExit: 3"),
        (
            'ROUTES = [Route(**{"pattern": "a.*", "qeue": "low"})]',
            "routing.py:2: running it raised TypeError: ",
        ),
        ("", "routing.py: expected ROUTES = [Route(...), ...], got nothing of that name"),
        ("routes = []", "routing.py:2: unknown name 'routes', did you mean 'ROUTES'?"),
        (
            'ROUTES = []\nDEFAULT_QEUE = "low"',
            "routing.py:3: unknown name 'DEFAULT_QEUE', did you mean 'DEFAULT_QUEUE'?",
        ),
        (
            'ROUTES = {"a.*": "high"}',
            "routing.py:2: ROUTES: expected a list of Route(...), got: {'a.*': 'high'}",
        ),
        ("ROUTES = None", "routing.py:2: ROUTES: expected a list of Route(...), got: None"),
        ('ROUTES = ["a.*"]', "routing.py:2: ROUTES[0]: expected Route(...), got: 'a.*'"),
        (
            'ROUTES = [Route("a.*", "high")]',
            (
                "routing.py:2: Route: expected one pattern, then queue= and priority= by name, "
                "got: 2 values without a name"
            ),
        ),
        ('ROUTES = [Route("a.*")]', "routing.py:2: Route: expected queue=..., got nothing"),
        (
            'ROUTES = [Route(queue="low")]',
            (
                "routing.py:2: Route: expected one pattern, then queue= and priority= by name, "
                "got: 0 values without a name"
            ),
        ),
        (
            'import laneway\nROUTES = (laneway.Route("a.*", queue="low", exchange="x"),)',
            "routing.py:3: Route: unknown key 'exchange'; expected queue, priority",
        ),
        (
            "DEFAULT_QUEUE = 3\nROUTES = []",
            "routing.py:2: DEFAULT_QUEUE: expected one of the queues default, high, low, got: 3",
        ),
        (
            'ROUTES = [Route("a.*", queue=["low"])]',
            "routing.py:2: queue: expected one of the queues default, high, low, got: ['low']",
        ),
        (
            'ROUTES = [Route("a.*", queue="low", priority=True)]',
            (
                "routing.py:2: priority: expected a whole number from 0 to 9 (higher is more "
                "urgent), got: True"
            ),
        ),
    ],
)
def test_each_problem_of_routing(routing: WriteRouting, text: str, problem: str) -> None:
    found = problems(routing(text))
    assert any(line.startswith(problem) for line in found), found


@pytest.mark.parametrize("source", [b"\0", b"\xff", b"# coding: nothing", b"(" * 9999])
def test_what_is_no_python_at_all(root: Path, source: bytes) -> None:
    (root / "routing.py").write_bytes(source)
    assert any("not Python: " in line for line in problems(root))


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("'*'", "what no route names goes to the default queue"),
        ("'#'", "what no route names goes to the default queue"),
        ("''", "what no route names goes to the default queue"),
        ("'a*'", "'.*' stands only at the end"),
        ("'a.b*'", "did you mean 'a.*'?"),
        ("'a.*.b'", "did you mean 'a.*'?"),
        ("'a.#'", "did you mean 'a.*'?"),
        ("'a.b?'", "did you mean 'a.*'?"),
        ("'a.[bc]'", "did you mean 'a.*'?"),
        (r"r'^a\.b$'", "'.*' stands only at the end"),
        ("'a.(b|c)'", "did you mean 'a.*'?"),
        ("'a..b'", "with an empty part, did you mean 'a.b'?"),
        ("'a..*'", "with an empty part, did you mean 'a.*'?"),
        ("'.a'", "did you mean 'a'?"),
        ("'a.'", "did you mean 'a'?"),
        ("' a'", "with blanks around a part"),
        ("'a. b.*'", "with blanks around a part"),
        ("'a\\n'", "with blanks around a part"),
        ("3", "got: 3"),
        ("None", "got: None"),
        ("re.compile('a')", "got: re.compile('a')"),
    ],
)
def test_patterns_that_name_no_task(routing: WriteRouting, pattern: str, hint: str) -> None:
    (found,) = problems(routing(f'import re\nROUTES = [Route({pattern}, queue="low")]'))
    assert found.startswith("routing.py:3: expected a task's name like 'billing.charge' or a ")
    assert hint in found


@pytest.mark.parametrize("pattern", ["a", "a.b", "a.*", "A_1.b-c.*", "celery.backend_cleanup"])
def test_patterns_that_do(routing: WriteRouting, pattern: str) -> None:
    assert lint_policy(routing(f'ROUTES = [Route("{pattern}", queue="low")]')) == []


def test_a_broken_queue_file_is_no_unknown_queue(routing: WriteRouting) -> None:
    root = routing('DEFAULT_QUEUE = "low"\nROUTES = [Route("a.*", queue="low")]')
    (root / "queues" / "low.toml").write_text("summary = 3")
    assert {line.partition(":")[0] for line in problems(root)} == {"queues/low.toml"}


def test_the_default_queue_must_be_there(root: Path) -> None:
    (root / "queues" / "default.toml").unlink()
    assert problems(root) == [
        "routing.py: DEFAULT_QUEUE: expected one of the queues high, low, got: 'default'"
    ]


def test_the_default_queue_is_not_secure(root: Path) -> None:
    (root / "queues" / "default.toml").write_text(SECURE)
    (found,) = problems(root)
    assert found.startswith("routing.py: DEFAULT_QUEUE: expected a queue that is not secure")


def test_an_empty_folder(tmp_path: Path) -> None:
    found = problems(tmp_path)
    assert [line.partition(": ")[0] for line in found] == ["routing.py", "routing.py", "queues/"]


def test_a_failed_reading_leaves_no_module(routing: WriteRouting) -> None:
    load_policy(routing("ROUTES = []"))
    good = sys.modules["laneway_policy_routing"]
    assert len(problems(routing("raise ValueError"))) == 1
    assert sys.modules["laneway_policy_routing"] is good


def test_the_error_shows_every_problem(routing: WriteRouting) -> None:
    root = routing('ROUTES = [Route("a", queue="x"), Route("a", queue="y")]')
    with pytest.raises(PolicyError) as refusal:
        load_policy(root)
    assert str(refusal.value).splitlines()[0] == "the policy has 3 problems:"
    assert str(refusal.value).splitlines()[1:] == [f"  {line}" for line in refusal.value.problems]


# --- The lint --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routes", "found"),
    [
        (
            'Route("a.*", queue="low"), Route("a.b", queue="low")',
            [
                (
                    "routing.py:2: 'a.b' says only what route 'a.*' (routing.py:2) says anyway; "
                    "remove it"
                )
            ],
        ),
        (
            'Route("a.*", queue="low", priority=4), Route("a.b.c.*", queue="low", priority=4)',
            [
                (
                    "routing.py:2: 'a.b.c.*' says only what route 'a.*' (routing.py:2) says "
                    "anyway; remove it"
                )
            ],
        ),
        (
            'Route("a.b", queue="low"), Route("a.b.c", queue="high")',
            [
                (
                    "routing.py:2: 'a.b' can never win: other routes say that it is a module, did "
                    "you mean 'a.b.*'?"
                )
            ],
        ),
        (
            'Route("a", queue="low"), Route("a.b.c.*", queue="high")',
            [
                (
                    "routing.py:2: 'a' can never win: other routes say that it is a module, did "
                    "you mean 'a.*'?"
                )
            ],
        ),
        ('Route("a.*", queue="low"), Route("a.b", queue="low", priority=4)', []),
        ('Route("a.*", queue="low", priority=4), Route("a.b", queue="low")', []),
        ('Route("a.*", queue="low"), Route("a.b", queue="high")', []),
        (
            'Route("a.*", queue="low"), Route("a.b.*", queue="high"), Route("a.b.c", queue="low")',
            [],
        ),
        ('Route("a.*", queue="default")', []),
        ('Route("a.*", queue="low"), Route("ab.c", queue="low")', []),
    ],
)
def test_rules_that_do_nothing(routing: WriteRouting, routes: str, found: list[str]) -> None:
    root = routing(f"ROUTES = [{routes}]")
    assert isinstance(load_policy(root), Policy)
    assert lint_policy(root) == found


def test_a_secure_queue_that_nothing_enters(routing: WriteRouting) -> None:
    root = routing("ROUTES = []")
    (root / "queues" / "vault.toml").write_text(SECURE)
    (found,) = lint_policy(root)
    assert found.startswith("queues/vault.toml: no route leads to the secure queue 'vault'")
    routing('ROUTES = [Route("a.*", queue="vault")]')
    assert lint_policy(root) == []


def test_problems_and_routes_name_their_line(routing: WriteRouting) -> None:
    root = routing('ROUTES = [\n  Route(\n    "a.*",\n    queue="low",\n  ),\n]')
    policy = load_policy(root)
    assert policy.routes == (Route("a.*", queue="low"),)
    assert policy.routes[0].where == "routing.py:3"
    assert policy.router.decide("a.x").queue_reason == "route 'a.*' (routing.py:3)"


def test_problems_are_one_line_each_and_plain_text(routing: WriteRouting) -> None:
    found = problems(routing('ROUTES = ["two\\nlines" * 100, Route("a\\n", queue="b\\n")]'))
    assert all(line.isprintable() and len(line) < 300 for line in found)
    assert json.loads(json.dumps(found)) == found
