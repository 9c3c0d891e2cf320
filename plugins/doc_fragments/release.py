# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Documentation that the release modules share."""

from __future__ import annotations


class ModuleDocFragment:
    #: What every module of a run has.
    DOCUMENTATION = r"""
options:
  app:
    description: The app's name. Its user, folders and units carry it.
    type: str
    required: true
  run:
    description:
      - Identifies this run of C(ansible-playbook); the lock of the app belongs to it.
      - Set by the action plugin; not to be set in a playbook.
    type: str
    required: true
  deployer:
    description:
      - The person who runs this, as V(alice@laptop), for the lock and the history.
      - Set by the action plugin when it is not given.
    type: str
    required: true
  lock_seconds:
    description: How long after this phase the app stays locked for others when the next phase does not follow. Seconds.
    type: int
    default: 600
  take_over:
    description:
      - A run known to be dead, whose lock may be taken at once.
      - Set by the action plugin; not to be set in a playbook.
    type: str
    default: ""
attributes:
  check_mode:
    description: Can run in check mode and tell what would change without changing it.
    support: full
  platform:
    description: Debian 12 and 13.
    platforms: debian
    support: full
notes:
  - A phase goes on when the connection to the controller is cut, and the next run finds what it has done.
"""

    #: How a release is asked whether it is well.
    HEALTH = r"""
options:
  health:
    description: How the release is asked whether it is well, and what a good answer is.
    type: dict
    required: true
    suboptions:
      path:
        description: What is asked for. Empty means V(/), and every status below 500 is good.
        type: str
        default: ""
      status:
        description: The statuses that are good. Empty means 2xx and 3xx when O(health.path) is set.
        type: list
        elements: int
        default: []
      text:
        description: A text that the body of the answer must contain.
        type: str
        default: ""
      answer_seconds:
        description: How long one answer may take. Seconds.
        type: float
        default: 5
      host:
        description: The Host header that users send.
        type: str
        required: true
      scheme:
        description: The X-Forwarded-Proto header that the proxy sends.
        type: str
        choices: [http, https]
        default: http
"""

    #: What a release is made from besides the commit.
    INPUTS = r"""
options:
  settings:
    description: What the inventory says about the release; each is the role's variable with C(flask_app_) before it.
    type: dict
    default: {}
    suboptions:
      subdirectory:
        description: The app's folder in the repository. Empty for its root.
        type: str
        default: ""
      wsgi:
        description: The entry point, as V(shop:create_app(\)). Empty to find it the way Flask does.
        type: str
        default: ""
      server:
        description: What answers requests. Empty for the Procfile's C(web) command if there is one, else gunicorn.
        type: str
        choices: ["", gunicorn, uwsgi, waitress, uvicorn, procfile]
        default: ""
      worker_class:
        description: How gunicorn's workers work. Empty for the app's own settings, else gthread.
        type: str
        choices: ["", sync, gthread, gevent]
        default: ""
      formation:
        description: How many instances of each process type run on a host.
        type: dict
        default: {}
      single_processes:
        description: Process types that run on the first host only.
        type: list
        elements: str
        default: []
      first_host:
        description: This is the first host of the app.
        type: bool
        default: true
      process_limits:
        description: What each instance of a process type, or a run of a job, may take.
        type: dict
        default: {}
      stop_seconds:
        description: How long workers and jobs may take to finish what they have in hand. Seconds.
        type: int
        default: 300
      jobs:
        description: Commands that run by the calendar, by name.
        type: dict
        default: {}
      python:
        description: The Python version. Empty for what the app's files say.
        type: str
        default: ""
      apt_packages:
        description: Debian packages that the app or its build needs. The build is refused when one is missing.
        type: list
        elements: str
        default: []
      build_commands:
        description: Shell commands that run in the app's folder before its packages are installed.
        type: list
        elements: str
        default: []
      packages_file:
        description: The file that says what to install. Empty when there is only one.
        type: str
        default: ""
      extras:
        description: The app's own extras to install.
        type: list
        elements: str
        default: []
      extra_packages:
        description: Requirements to install besides the app's own.
        type: list
        elements: str
        default: []
      constraints:
        description: Limits of versions, wherever no lock file decides.
        type: list
        elements: str
        default: []
      wheelhouse:
        description: A folder of wheels to install from, and from no index. On the host, or in the app's folder.
        type: str
        default: ""
      shared_paths:
        description: Folders and files below the app's folder that outlive releases.
        type: list
        elements: str
        default: []
      static:
        description: Folders and files below the app's folder that the web server hands out, by address.
        type: dict
        default: {}
      pages:
        description: The folder, below the app's folder, of its own error pages. Empty for none.
        type: str
        default: ""
  env:
    description: The app's variables, as the base64 text of a JSON object.
    type: str
    default: ""
  index:
    description:
      - Package indexes, as the base64 text of a JSON object with C(url), asked instead of the public one, and C(extra),
        asked first.
    type: str
    default: ""
  files:
    description: Files to lay into the release, by their place in the app's folder, as the base64 text of a JSON object.
    type: str
    default: ""
"""

    #: Where the app's code comes from.
    SOURCE = r"""
options:
  repository:
    description:
      - What C(git clone) would take, as the base64 text of a JSON object with a C(url). Credentials in an http(s)
        address never reach an argument list or a log.
    type: str
    required: true
  version:
    description: A branch, a tag or a SHA.
    type: str
    required: true
  strict_host_keys:
    description: Trust only the SSH host keys that were provisioned, instead of learning a host's key the first time.
    type: bool
    default: false
  partial:
    description: Fetch the content of files only for commits that are checked out.
    type: bool
    default: false
"""

    #: How long a release may take to be well.
    READY = r"""
options:
  health_seconds:
    description: How long the release may take from its start to three good answers. Seconds.
    type: float
    default: 60
"""

    #: How closely a release is looked at once it is live.
    LIVE = r"""
options:
  watch_seconds:
    description: How long to watch the release after the switch. Seconds.
    type: float
    default: 3
"""

    #: How a deploy ends.
    FINISH = r"""
options:
  drain_seconds:
    description: How long to wait until the old release has no connection left. What is open then is cut. Seconds.
    type: float
    default: 30
  keep_releases:
    description: How many good releases stay on the host for rollbacks, the live one among them.
    type: int
    default: 5
"""

    #: For modules that are no phase of a run.
    APP = r"""
options:
  app:
    description: The app's name. Its user, folders and units carry it.
    type: str
    required: true
attributes:
  check_mode:
    description: Can run in check mode and tell what would change without changing it.
    support: full
  platform:
    description: Debian 12 and 13.
    platforms: debian
    support: full
"""
