# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app as it ran on Fluxflex deploys as it is."""

from __future__ import annotations

from apps.repos import Commit, probe_files

FLX = """\
[replace]
settings.py FLX_DB_NAME PROJECT_NAME
settings.py FLX_DB_USER DB_USER
settings.py FLX_DB_PASS DB_PASSWORD
settings.py FLX_DB_HOST DB_HOST

[setup]
pip install -r req.txt -I --install-option="--user"
/usr/bin/env python initdb.py

[permission]
public_html/dispatch.fcgi 755

[deploy]
pip install -r req.txt -I --install-option="--user"
echo deployed >> /var/lib/flux/deploys
"""
APP = """\
from probe.web import create_app
from settings import DB

application = create_app()


@application.get("/db")
def db():
    return {"url": DB}
"""


def flux_files(version: int) -> dict[str, str]:
    files = probe_files(version, dependency="1.17.0", entry="none")
    return files | {
        "req.txt": files.pop("requirements.txt"),
        "application/app.py": APP,
        "settings.py": "DB = 'mysql://FLX_DB_USER:FLX_DB_PASS@FLX_DB_HOST/FLX_DB_NAME'\n",
        "initdb.py": "open('/var/lib/flux/initialised', 'a').write('once')\n",
        ".flx": FLX,
    }


def test_an_app_of_fluxflex(new_app, machine):
    flux = new_app(
        "flux",
        [machine],
        flask_app_watch_seconds=0.5,
        flask_app_scheme="http",
        flask_app_database="external",
        flask_app_database_url="mysql+pymysql://us%40er:pw-90cc3e@db.example.com/shop",
        # That server is nowhere.
        flask_app_keep_dumps=0,
    )
    flux.publish([Commit(files=flux_files(version), tag=f"v{version}") for version in (1, 2)])
    refused = flux.site("v1")
    assert refused.rc != 0
    assert "the init commands did not run: whether the database holds tables already cannot be told" in refused.output
    assert "No such file" in flux.shell("cat /var/lib/flux/initialised 2>&1 || true")
    flux.deploy("v1", flask_app_init_again="flux").check()
    assert flux.live()["code"] == "1"
    assert flux.ask("/db").json()["url"] == "mysql://us@er:pw-90cc3e@db.example.com/shop"
    assert any(
        "nothing is done for pip install -r req.txt" in each for each in refused.results("release_build")[0]["warnings"]
    )
    assert flux.shell("cat /var/lib/flux/initialised") == "once"
    flux.deploy("v2", flask_app_init_again="flux").check()
    assert flux.live()["code"] == "2"
    assert flux.shell("cat /var/lib/flux/initialised") == "onceonce"
    assert flux.shell("cat /var/lib/flux/deploys") == "deployed\n" * 2
    settings = f"/srv/flux/releases/{flux.live_id()}/src/settings.py"
    assert flux.shell(f"stat -c '%U %G %a' {settings}") == "root flux 640\n"
    assert "pw-90cc3e" not in "".join(run.output for run in flux.runs)
