#!/usr/bin/env python3
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Git repositories for tests: small apps in every shape and with every fault that a deploy must cope with.

``make_repo`` turns trees of files into a bare repository. ``probe_files`` is the tree of one version of the probe app
(``tests/apps/probe``), which says in each answer which code and which dependency is running. Authors and dates are
fixed and no setting of the user's git has a say, so the same call makes the same SHAs everywhere.

As a command, for a playbook: ``repos.py DIR --versions 2 --fault import-error``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROBE = Path(__file__).resolve().parent / "probe"

# What a version of the probe needs. Consecutive versions differ in one small pure Python package, so that a test can
# tell whether the virtualenv is the right one.
REQUIREMENTS = (
    "blinker==1.9.0",
    "click==8.5.1",
    "flask==3.1.3",
    "itsdangerous==2.2.0",
    "jinja2==3.1.6",
    "markupsafe==3.0.4",
    "werkzeug==3.1.9",
)
DEPENDENCY = "six"
DEPENDENCY_VERSIONS = ("1.15.0", "1.16.0", "1.17.0")

BUILD_FAULTS = ("uninstallable",)
# What each does stands in probe/faults.py.
RUN_FAULTS = (
    "import-error",
    "slow-start",
    "errors",
    "errors-beside-health",
    "wrong-text",
    "redirects",
    "hangs",
    "dies-after-answer",
    "crashes",
    "dies-when-live",
)
LAYOUTS = ("flat", "src")
ENTRIES = {
    "wsgi": {"wsgi.py": "from probe import create_app\n\napp = create_app()\n"},
    "application": {"wsgi.py": "from probe import create_app\n\napplication = create_app()\n"},
    "app": {"app.py": "from probe import create_app\n\napp = create_app()\n"},
    "factory": {"app.py": "from probe import create_app\n\n__all__ = ['create_app']\n"},
    "package": {},
    "none": {},
}

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "probe"
# The same in all versions of the code, as in apps whose authors never raise it: an installer that trusts it
# serves old code.
version = "1.0"
requires-python = ">=3.11"
dependencies = [
{dependencies}
]

[tool.setuptools.packages.find]
where = ["src"]
"""

IDENTITY = ("Ada Example", "ada@example.com")
FIRST_COMMIT = 1_767_258_000  # 2026-01-01 09:00 UTC; each commit of a history comes an hour after its parent
HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Submodule:
    """The commit of another repository that a tree holds at a path. ``url`` is what .gitmodules says."""

    url: str
    sha: str


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One commit: its whole tree, path → text or bytes. A file that begins with ``#!`` is executable.

    ``tag`` also names the commit, with a tag object of its own where ``annotated`` is set.
    """

    files: Mapping[str, str | bytes]
    message: str = ""
    tag: str | None = None
    annotated: bool = False
    submodules: Mapping[str, Submodule] = field(default_factory=dict)


@dataclass(frozen=True)
class Repo:
    """A bare repository on this machine."""

    path: Path

    def sha(self, ref: str = "main") -> str:
        """Return the full SHA of the commit that ``ref`` names."""
        return git(self.path, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").decode().strip()


def make_repo(path: str | Path, commits: Sequence[Commit], *, branch: str = "main") -> Repo:
    """Make a bare repository of ``commits``, oldest first, whose default branch is ``branch``.

    Again at the same path: the branch and the tags are set anew, with the same SHAs; other refs stay.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    git(path, "init", "--quiet", "--bare", "--template=", "--object-format=sha1", f"--initial-branch={branch}", ".")
    return add_commits(Repo(path), commits, branch=branch, start=None)


def add_commits(repo: Repo, commits: Sequence[Commit], *, branch: str = "main", start: str | None = "main") -> Repo:
    """Add ``commits`` after the commit ``start``, and move ``branch`` there.

    ``start=None`` begins a history of its own. A branch that exists is moved also where that is no fast-forward, as
    by a forced push.
    """
    age = 0
    parent = None
    if start is not None:
        parent = repo.sha(start)
        age = int(git(repo.path, "rev-list", "--count", parent))
    stream = b""
    for number, commit in enumerate(commits, start=1):
        stream += _fast_import(commit, number=number, branch=branch, parent=parent, age=age + number - 1)
        parent = f":{number}"
    git(repo.path, "fast-import", "--quiet", "--force", stdin=stream)
    return repo


def _fast_import(commit: Commit, *, number: int, branch: str, parent: str | None, age: int) -> bytes:
    """Return the commands that make one commit and its tag."""
    ref = f"refs/heads/{branch}"
    who = f"{IDENTITY[0]} <{IDENTITY[1]}> {FIRST_COMMIT + age * HOUR} +0000"
    message = commit.message or f"Commit {age + 1}"
    files = {path: text.encode() if isinstance(text, str) else text for path, text in commit.files.items()}
    if commit.submodules:
        files[".gitmodules"] = "".join(
            f'[submodule "{path}"]\n\tpath = {path}\n\turl = {submodule.url}\n'
            for path, submodule in sorted(commit.submodules.items())
        ).encode()

    lines = []
    if parent is None:
        # Without it, fast-import would take the branch's present commit for the parent.
        lines.append(f"reset {ref}\n".encode())
    lines += [f"commit {ref}\nmark :{number}\nauthor {who}\ncommitter {who}\n".encode(), _data(message.encode())]
    if parent is not None:
        lines.append(f"from {parent}\n".encode())
    lines.append(b"deleteall\n")
    for path, content in sorted(files.items()):
        mode = "100755" if content.startswith(b"#!") else "100644"
        lines += [f"M {mode} inline {path}\n".encode(), _data(content)]
    lines += [f"M 160000 {module.sha} {path}\n".encode() for path, module in sorted(commit.submodules.items())]
    if commit.tag and commit.annotated:
        lines += [f"tag {commit.tag}\nfrom :{number}\ntagger {who}\n".encode(), _data(message.encode())]
    elif commit.tag:
        lines.append(f"reset refs/tags/{commit.tag}\nfrom :{number}\n\n".encode())
    return b"".join(lines)


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run git in ``folder`` with no configuration but its own; return what it printed. Raises RuntimeError."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip() or done.returncode}")
    return done.stdout


def dependency_version(version: int) -> str:
    """Return the version of the dependency that version N of the probe pins; it changes with each N."""
    return DEPENDENCY_VERSIONS[version % len(DEPENDENCY_VERSIONS)]


def probe_files(
    version: int | str,
    *,
    dependency: str | None = None,
    fault: str = "",
    seconds: float = 0.0,
    layout: str = "flat",
    entry: str = "wsgi",
    subdirectory: str = "",
    committed_instance: bool = False,
    needs: Sequence[str] = (),
) -> dict[str, str]:
    """Return the tree of one version of the probe app.

    ``version``: what ``GET /`` answers as ``code``. ``dependency``: the version of the pinned package, answered as
    ``dependency``; unless given, it changes with a number for a version, so that code and virtualenv change together.
    ``fault``: one of RUN_FAULTS (see ``probe/faults.py``; ``seconds`` is their time) or BUILD_FAULTS.
    ``layout``: ``flat`` (requirements.txt, not installed) or ``src`` (pyproject.toml, installed by setuptools).
    ``entry``: how the app can be found, one of ENTRIES. ``subdirectory``: the folder of the repository it stands in.
    ``committed_instance``: the tree holds ``instance/committed.txt``. ``needs``: requirements besides its own.
    Raises ValueError for a choice that does not exist.
    """
    for name, value, choices in (
        ("fault", fault, ("", *RUN_FAULTS, *BUILD_FAULTS)),
        ("layout", layout, LAYOUTS),
        ("entry", entry, tuple(ENTRIES)),
    ):
        if value not in choices:
            raise ValueError(f"{name} {value!r} does not exist, only {', '.join(map(repr, choices))}")
    if dependency is None:
        dependency = dependency_version(int(version))
    if fault == "uninstallable":
        dependency = "99.99.99"
    requirements = sorted({*REQUIREMENTS, f"{DEPENDENCY}=={dependency}", *needs})

    package = "src/probe" if layout == "src" else "probe"
    run_fault = fault if fault in RUN_FAULTS else ""
    init = '"""The probe app."""\n' + ("" if entry == "none" else "\nfrom .web import create_app as create_app\n")
    files = {
        f"{package}/__init__.py": init,
        f"{package}/version.py": f'CODE = "{version}"\nFAULT = "{run_fault}"\nFAULT_SECONDS = {float(seconds)!r}\n',
        **{f"{package}/{name}": (PROBE / name).read_text() for name in ("web.py", "asgi.py", "faults.py")},
        **ENTRIES[entry],
    }
    if layout == "src":
        files["pyproject.toml"] = PYPROJECT.format(dependencies="\n".join(f'    "{line}",' for line in requirements))
    else:
        files["requirements.txt"] = "".join(f"{line}\n" for line in requirements)
    if committed_instance:
        files["instance/committed.txt"] = f"committed with version {version}\n"
    if subdirectory:
        files = {f"{subdirectory.strip('/')}/{path}": text for path, text in files.items()}
        files["README.md"] = f"The app is in {subdirectory}.\n"
    return files


def probe_commit(version: int, *, tag: str | None = None, fault: str = "", **options: object) -> Commit:
    """Return version N of the probe as a commit with the tag ``v<N>``; ``options`` are those of ``probe_files``."""
    files = probe_files(version, fault=fault, **options)
    message = f"Version {version}" + (f" ({fault})" if fault else "")
    return Commit(files=files, message=message, tag=tag or f"v{version}")


def make_probe_repo(path: str | Path, *, versions: int = 2, last_fault: str = "", **options: object) -> Repo:
    """Make a repository of the probe with tags v1 … v<versions>, the last of which has the fault ``last_fault``.

    With a fault, ``main`` stays at the version before, as it does for people who test before they merge.
    """
    faultless = versions - 1 if last_fault else versions
    options_of_all = {name: value for name, value in options.items() if name != "seconds"}
    repo = make_repo(path, [probe_commit(number, **options_of_all) for number in range(1, faultless + 1)])
    if last_fault:
        add_commits(repo, [probe_commit(versions, fault=last_fault, **options)], branch="broken")
    return repo


def main() -> None:
    """Make a repository as the command line says, and print its tags and their commits."""
    parser = argparse.ArgumentParser(description="Make a git repository of the probe app.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--versions", type=int, default=2, help="tags v1 … vN (default 2)")
    parser.add_argument("--fault", default="", choices=["", *RUN_FAULTS, *BUILD_FAULTS], help="what ails the last one")
    parser.add_argument("--seconds", type=float, default=0.0, help="the time of a fault that has one")
    parser.add_argument("--layout", default="flat", choices=LAYOUTS)
    parser.add_argument("--entry", default="wsgi", choices=list(ENTRIES))
    parser.add_argument("--subdirectory", default="")
    parser.add_argument("--committed-instance", action="store_true")
    arguments = parser.parse_args()
    if arguments.versions < (2 if arguments.fault else 1):
        parser.error("--versions: at least 1, and 2 where the last one has a fault")
    repo = make_probe_repo(
        arguments.directory,
        versions=arguments.versions,
        last_fault=arguments.fault,
        seconds=arguments.seconds,
        layout=arguments.layout,
        entry=arguments.entry,
        subdirectory=arguments.subdirectory,
        committed_instance=arguments.committed_instance,
    )
    for number in range(1, arguments.versions + 1):
        print(f"v{number} {repo.sha(f'v{number}')}")


if __name__ == "__main__":
    main()
