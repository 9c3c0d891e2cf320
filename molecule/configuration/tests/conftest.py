# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One app that wants its configuration in every way there is. The files run in the order of their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from old_app import CONTROL, HARD, TOKEN, old_files

from apps.repos import Commit
from support.deployments import App, new_app, pytest_runtest_makereport

__all__ = ["new_app", "pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def conf(new_app, machine) -> App:
    """The app, with v1 live."""
    app = new_app(
        "conf",
        [machine],
        flask_app_watch_seconds=0.5,
        flask_app_health_path="",
        flask_app_domain_aliases=["www.conf.example.com"],
        flask_app_domain_redirects=["conf.example.org", "old.example.org"],
        flask_app_env={"HARD": HARD, "CONTROL": CONTROL, "NEEDED": "7", "TOKEN": TOKEN},
        flask_app_database="external",
        flask_app_database_url="postgresql+psycopg2://us%40er:p%2Fw%23%3Ad@db.example.com/shop",
        flask_app_database_variables={
            "url": "SQLALCHEMY_DATABASE_URI",
            "plain_url": "PLAIN_URL",
            "dialect": "DB_DIALECT",
            "host": "DB_HOST A",
            "port": "PGPORT",
            "user": "PGUSER",
            "password": "PGPASSWORD",
            "name": "PGDATABASE",
            "socket": "DB_SOCKET",
        },
        flask_app_files={"instance/config.py": "../templates/config.py.j2", "conf/app.ini": "../templates/app.ini.j2"},
        flask_app_shared_paths=["uploads", "data/app.db"],
        flask_app_build_commands=[
            "env > built.txt; ls /srv/conf/releases >> built.txt; cat /srv/conf/releases/*/src/conf/app.ini"
            " /srv/conf/releases/*/env /etc/conf/platform.env /var/lib/conf/raw >> built.txt 2>/dev/null; true"
        ],
        # The database is nowhere.
        flask_app_keep_dumps=0,
        flask_app_release_commands=[
            "flask show HARD > /var/lib/conf/release",
            'printf %s "${HARD}" > /var/lib/conf/raw',
        ],
        flask_app_scheme="http",
        motto="first",
    )
    templates = Path(app.folder / "templates")
    templates.mkdir(parents=True)
    (templates / "config.py.j2").write_text("MOTTO = {{ motto | to_json }}\nTOKEN = '{{ flask_app_env.TOKEN }}'\n")
    (templates / "app.ini.j2").write_text("[app]\ntoken = {{ flask_app_env.TOKEN }}\nname = {{ flask_app_name }}\n")
    app.publish([Commit(files=old_files(version), tag=f"v{version}") for version in (1, 2)])
    # Nor can anybody tell whether it holds tables already.
    app.site("v1", flask_app_init_again="conf").check()
    return app
