# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the inventory says about a release, besides its variables: one field for each ``flask_app_<field>``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ansible_collections.baremetal.flask.plugins.module_utils import formation as processes
from ansible_collections.baremetal.flask.plugins.module_utils import servers

#: The suboptions of the option ``settings``; documented in the fragment ``release.inputs``.
OPTIONS: dict[str, dict[str, Any]] = {
    "subdirectory": {"type": "str", "default": ""},
    "wsgi": {"type": "str", "default": ""},
    "server": {"type": "str", "choices": list(servers.NAMES), "default": ""},
    "worker_class": {"type": "str", "choices": list(servers.WORKER_CLASSES), "default": ""},
    "formation": {"type": "dict", "default": {}},
    "process_limits": {"type": "dict", "default": {}},
    "stop_seconds": {"type": "int", "default": 300},
    "jobs": {"type": "dict", "default": {}},
    "single_processes": {"type": "list", "elements": "str", "default": []},
    "first_host": {"type": "bool", "default": True},
    "python": {"type": "str", "default": ""},
    "apt_packages": {"type": "list", "elements": "str", "default": []},
    "build_commands": {"type": "list", "elements": "str", "default": []},
    "packages_file": {"type": "str", "default": ""},
    "extras": {"type": "list", "elements": "str", "default": []},
    "extra_packages": {"type": "list", "elements": "str", "default": []},
    "constraints": {"type": "list", "elements": "str", "default": []},
    "wheelhouse": {"type": "str", "default": ""},
    "shared_paths": {"type": "list", "elements": "str", "default": []},
    "static": {"type": "dict", "default": {}},
    "pages": {"type": "str", "default": ""},
}


#: Of a field that is only checked: it decides no release.
_NO_INPUT = {"input": False}


@dataclass(frozen=True)
class Settings:
    """
    :param subdirectory: the app's folder in the repository; "" for its root.
    :param wsgi: the entry point; "" to find it.
    :param server: one of ``servers.NAMES``.
    :param worker_class: gunicorn's; "" for the app's own settings, else gthread.
    :param formation: how many instances of each process type run on this host, where that is not the default.
    :param single_processes: process types that run on the first host only.
    :param process_limits: what an instance of a process type, or a job, may take.
    :param stop_seconds: how long workers and jobs may take to finish.
    :param jobs: the jobs that run on this host.
    :param job_names: of all jobs, also those that run on another host.
    :param python: the version, ``3.12`` or ``3.12.4``; "" for what the app's files say.
    :param apt_packages: Debian packages that the app or its build needs.
    :param build_commands: shell commands to run in the checkout before the packages are installed.
    :param packages_file: the file that says what to install; "" when there is only one.
    :param extras: the app's extras to install.
    :param extra_packages: requirements besides the app's own.
    :param constraints: lines that limit versions.
    :param wheelhouse: the folder to install from, and from nowhere else.
    :param shared_paths: folders and files below the app's folder that outlive releases.
    :param static: folders and files below the app's folder that the web server hands out, by address.
    :param pages: the folder of the app's own error pages.
    """

    subdirectory: str = ""
    wsgi: str = ""
    server: str = ""
    worker_class: str = ""
    formation: dict[str, int] = field(default_factory=dict)
    single_processes: tuple[str, ...] = field(default=(), metadata=_NO_INPUT)
    process_limits: dict[str, dict] = field(default_factory=dict)
    stop_seconds: int = 300
    jobs: dict[str, dict] = field(default_factory=dict)
    job_names: tuple[str, ...] = field(default=(), metadata=_NO_INPUT)
    python: str = ""
    apt_packages: tuple[str, ...] = ()
    build_commands: tuple[str, ...] = ()
    packages_file: str = ""
    extras: tuple[str, ...] = ()
    extra_packages: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    wheelhouse: str = ""
    shared_paths: tuple[str, ...] = ()
    static: dict[str, str] = field(default_factory=dict)
    pages: str = ""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Settings:
        """From the option ``settings`` of a module."""
        chosen = {each.name: given[each.name] for each in fields(cls) if given.get(each.name) is not None}
        chosen = {name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()}
        chosen["subdirectory"] = chosen.get("subdirectory", "").strip("/")
        first = given.get("first_host") is not False
        single = chosen.get("single_processes", ())
        chosen["formation"] = processes.read_formation(chosen.get("formation", {}), single=single, first_host=first)
        chosen["job_names"] = tuple(map(str, chosen.get("jobs", {})))
        jobs = processes.read_jobs(chosen.get("jobs", {}), first_host=first)
        chosen["jobs"] = {job.name: job.options() for job in jobs}
        return cls(**chosen)

    def inputs(self) -> dict[str, str]:
        """What of it decides the release, by the name that a person knows.

        A setting with its default value is not among it, so that a release keeps its id when a newer version of the
        collection knows more settings.
        """
        default = Settings()
        chosen = {each.name: getattr(self, each.name) for each in fields(self) if each.metadata.get("input", True)}
        return {
            f"flask_app_{name}": value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            for name, value in chosen.items()
            if value != getattr(default, name)
        }
