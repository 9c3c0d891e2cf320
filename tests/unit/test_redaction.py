# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is blanked in the logs that a phase shows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.baremetal.flask.plugins.module_utils import envfile, manifest
from ansible_collections.baremetal.flask.plugins.module_utils.layout import App
from ansible_collections.baremetal.flask.plugins.module_utils.phase import Phase


def new_phase() -> Phase:
    return Phase("build", SimpleNamespace(params={"app": "shop", "deployer": "alice@laptop"}, check_mode=False))


def shown(text: str, *hidden: str) -> str:
    phase = new_phase()
    phase.hide(hidden)
    return phase.redact(text)


def test_value_and_each_of_its_long_lines_are_blanked():
    assert shown("key first line, second", "first line\nno") == "key ********, second"


def test_short_values_are_left():
    assert shown("PORT=5432 is on", "5432", "on") == "PORT=5432 is on"


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("postgresql://shop:s3cr3tword@db/shop", "connecting to postgresql+psycopg://shop:s3cr3tword@db/shop"),
        ("postgresql://shop:p%40ss%2Fword@db/shop", "raw p%40ss%2Fword, meant p@ss/word"),
        ("redis://:s3cr3tword@cache:6379/0", "AUTH s3cr3tword"),
        ("mysql://shop:p@ssword@db/shop", "password is p@ssword"),
        ("amqp://a:s3cr3tword@one/,amqp://b:0therword@two/", "s3cr3tword 0therword"),
        ("postgresql://shop:s3cr3tword/with@slash@db/shop", "said s3cr3tword/with@slash"),
        ("postgresql://shop:s3cr3tword/slash@db/shop", "said s3cr3tword/slash"),
        ("postgresql://shop:s3cr3tword@db/shop?mail=me@example.com", "said s3cr3tword"),
        ("[db]\nurl = http://shop:s3cr3tword@db/", "s3cr3tword"),
    ],
)
def test_password_of_an_address_is_blanked_in_every_form(value, printed):
    found = shown(printed, value)
    assert "********" in found
    assert not any(word in found for word in ("s3cr3tword", "0therword", "p%40ss", "p@ss"))


def test_address_without_a_password_hides_nothing_else():
    told = "shop reads db.example.com:5432 as shop"
    assert shown(told, "postgresql://shop@db.example.com:5432/shop", "https://example.com/a:b@c") == told


def test_inventorys_files_of_a_release_are_hidden_as_its_variables_are(tmp_path):
    """A password may stand in such a file alone."""
    phase = new_phase()
    phase.app = App("shop", base=tmp_path)
    release = phase.app.release("e1ca3a1f00aa-1b2c3d4e")
    made = {
        phase.app.platform_env: envfile.render({"SECRET_KEY": "of-the-platform"}),
        release.env: envfile.render({"TOKEN": "of-the-variables"}),
        release.src / "backend/conf/app.ini": "password = of-the-code\n",
        release.files / "instance/config.py": 'PASSWORD = "of-the-data"\n',
        release.src / "backend/other.ini": "color = of-the-repository\n",
    }
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    built = manifest.Manifest(
        release.id,
        sha="e1ca3a1f00aa",
        ref="main",
        names=[],
        subject="",
        inputs={"file.conf//app.ini": "1", "file.instance/config.py": "2", "env.TOKEN": "3"},
        fingerprint="1b2c3d4e",
        folder="src/backend",
        mounts={"instance/config.py": "/var/lib/shop/instance/config.py"},
    )
    release.manifest.write_text(built.text())
    phase.hide_variables_of(release)
    told = "of-the-platform of-the-variables of-the-code of-the-data of-the-repository"
    assert phase.redact(told) == "******** ******** ******** ******** of-the-repository"
