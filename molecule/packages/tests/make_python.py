#!/usr/bin/env python3
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make a mirror of Python builds out of another Debian release's packages, as a site without internet has one.

Runs on a host: ``make_python.py FOLDER SUITE 3.11``. What uv installs from it is a real interpreter of another version,
in the layout of the archives that uv takes; ``FOLDER/downloads.json`` lists it. For a newer Debian's, the host needs
``patchelf``.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

#: Where the interpreter is going to be: it names its C library by its path.
INSTALLED = Path("/opt/uv-python")
LIBRARIES = [
    *("libc6", "zlib1g", "libexpat1", "libffi8", "libbz2-1.0", "liblzma5", "libsqlite3-0", "libuuid1", "libcrypt1"),
    *("libzstd1", "libgcc-s1"),
]
OPENSSL = {"bookworm": "libssl3", "trixie": "libssl3t64"}


def run(*words: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}")
    return done.stdout


def unpack(folder: Path, suite: str, short: str) -> Path:
    """The files of the packages, fetched from where the host gets its own."""
    sources = Path("/etc/apt/sources.list").read_text().splitlines()
    server = next(line.split()[1] for line in sources if line.startswith("deb "))
    (folder / "list").write_text(f"deb {server} {suite} main\n")
    # Without it, apt would look for the versions that are installed here.
    (folder / "status").write_text("")
    for name in ("lists", "debs"):
        (folder / name / "partial").mkdir(parents=True, exist_ok=True)
    apt = ["apt-get", "-qq", "-o", f"Dir::Etc::SourceList={folder}/list", "-o", "Dir::Etc::SourceParts=-"]
    apt += [
        "-o",
        f"Dir::State::Lists={folder}/lists",
        "-o",
        f"Dir::State::Status={folder}/status",
        "-o",
        "APT::Sandbox::User=root",
        "-o",
        "Acquire::Languages=none",
    ]
    run(*apt, "update")
    python = [f"python{short}-minimal", f"libpython{short}-minimal", f"libpython{short}-stdlib"]
    run(*apt, "download", *python, *LIBRARIES, OPENSSL[suite], cwd=folder / "debs")
    root = folder / "root"
    for package in (folder / "debs").glob("*.deb"):
        run("dpkg-deb", "--extract", package, root)
    return root


def bring_libraries(root: Path, python: Path, program: Path, installed: Path) -> None:
    """Let the interpreter use the C library that it was built for: this host's is too old."""
    libraries = python / "lib" / "private"
    libraries.mkdir()
    for place in ("lib", "usr/lib"):
        for path in (root / place).glob(f"{platform.machine()}-linux-gnu/*.so*"):
            if path.is_file():
                shutil.copy2(path, libraries / path.name)
    loader = next(libraries.glob("ld-linux*")).name
    there = installed / "lib" / "private"
    run("patchelf", "--set-interpreter", there / loader, "--force-rpath", "--set-rpath", there, program)


def main() -> None:
    folder, suite, short = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    machine = platform.machine()
    folder.mkdir(parents=True, exist_ok=True)
    root = unpack(folder, suite, short)

    python = folder / "python"
    (python / "bin").mkdir(parents=True)
    program = python / "bin" / f"python{short}"
    shutil.copy2(root / f"usr/bin/python{short}", program)
    shutil.copytree(root / f"usr/lib/python{short}", python / f"lib/python{short}", ignore_dangling_symlinks=True)
    package = next((folder / "debs").glob(f"python{short}-minimal_*"))
    version = run("dpkg-deb", "--field", package, "Version").partition("-")[0].strip()
    major, minor, patch = version.split(".")
    key = f"cpython-{version}-linux-{machine}-gnu"
    if subprocess.run([program, "-I", "-c", ""], capture_output=True, check=False).returncode:
        bring_libraries(root, python, program, INSTALLED / key)

    archive = folder / f"{key}.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(python, "python")
    build = {
        "name": "cpython", "arch": {"family": machine, "variant": None}, "os": "linux", "libc": "gnu",
        "major": int(major), "minor": int(minor), "patch": int(patch), "prerelease": "", "url": archive.as_uri(),
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(), "variant": None, "build": "20260101",
    }  # fmt: skip
    (folder / "downloads.json").write_text(json.dumps({key: build}))
    for name in ("lists", "debs", "root", "python"):
        shutil.rmtree(folder / name)
    print(version)


if __name__ == "__main__":
    main()
