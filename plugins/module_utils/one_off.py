# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Commands that a person runs in the live release: as the app's own processes run, and apart from them."""

from __future__ import annotations

import json

from ansible_collections.baremetal.flask.plugins.module_utils.layout import App
from ansible_collections.baremetal.flask.plugins.module_utils.units import Runtime

_SCRIPT = '''\
#!/usr/bin/python3
# Written by baremetal.flask for release {release}.
"""Run a command as this release's own processes run."""

import os
import sys

PROPERTIES = {properties}

if len(sys.argv) < 2:
    sys.exit("usage: sudo {name} COMMAND [ARGUMENT...], as in: sudo {name} flask shell")
if os.geteuid() != 0:
    sys.exit("only root may do this: sudo {name} ...")
# With a terminal on both sides, the command gets one too.
how = "--pty" if os.isatty(0) and os.isatty(1) else "--pipe"
unit = f"--unit={app}.run-{{os.getpid()}}.service"
# systemd puts variables in the place of words that begin with a $, unless that is doubled.
words = [word.replace("$", "$$") for word in ["/bin/sh", "-c", 'exec "$@"', "sh", *sys.argv[1:]]]
start = ["systemd-run", "--quiet", "--wait", "--collect", "--service-type=exec", how, unit]
os.execvp(start[0], [*start, *PROPERTIES, "--", *words])
'''


def launcher_name(app: App) -> str:
    return f"{app.name}-run"


def launcher(app: App) -> str:
    """The program by which a person on the host runs a command in whatever release is live."""
    return f"""\
#!/bin/sh
# Written by baremetal.flask: sudo {launcher_name(app)} flask shell
run={app.current}/one-off
if [ ! -x "$run" ]; then
    echo "{launcher_name(app)}: nothing is live yet, or what is live is too old for this: deploy first" >&2
    exit 1
fi
exec "$run" "$@"
"""


def script(runtime: Runtime) -> str:
    """The program of a release that runs a command in it."""
    app = runtime.release.app
    properties = json.dumps([f"--property={setting}" for setting in settings(runtime)], indent=4)
    return _SCRIPT.format(release=runtime.release.id, name=launcher_name(app), app=app.name, properties=properties)


def settings(runtime: Runtime) -> list[str]:
    """systemd's settings for such a command, as NAME=VALUE."""
    given = {**runtime.service(), "SyslogIdentifier": f"{runtime.release.app.name}.run"}
    return [
        f"{name}={item}" for name, value in given.items() for item in ([value] if isinstance(value, str) else value)
    ]
