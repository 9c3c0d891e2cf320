# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values that ansible-vault has encrypted, and texts that Ansible would take for templates."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest
from old_app import HARD

from support.playbooks import ansible_command

#: What Ansible takes for templates and for comments of templates.
BRACES = "{{ 1 + 1 }} {% if %} {# gone #} {} }} %} #}"
IN_VALUE, IN_FILE = "vault-5e0c71b28d93fa46", "vault-d84b1f6a073ce925"


@pytest.fixture(scope="module")
def run(conf, tmp_path_factory):
    """The deploy that brought them, at -vvv."""
    password = tmp_path_factory.mktemp("vault") / "password"
    password.write_text("of the vault")

    def vault(*words: str, text: str = "") -> str:
        command = [ansible_command(conf.debian, "ansible-vault"), *words, f"--vault-password-file={password}"]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout

    folder = conf.folder / "staging/group_vars/app"
    folder.mkdir()
    hard = vault("encrypt_string", "--stdin-name=hard", text=f"{HARD}{BRACES}{IN_VALUE}\n{HARD}")
    braces = json.dumps(HARD + BRACES, ensure_ascii=False)
    (folder / "main.yml").write_text(f"{hard}\nbraces: !unsafe {braces}\n")
    (folder / "vault.yml").write_text(f"vault_token: {IN_FILE}\n")
    vault("encrypt", str(folder / "vault.yml"))
    assert IN_FILE not in (folder / "vault.yml").read_text()
    kept = conf.variables["flask_app_env"]
    conf.variables["flask_app_env"] = kept | {
        "SAFE": "{{ hard }}",
        "BRACES": "{{ braces }}",
        "FILED": "{{ vault_token }}",
    }
    yield conf.deploy("v2", arguments=["-vvv", "--diff"], env={"ANSIBLE_VAULT_PASSWORD_FILE": str(password)}).check()
    conf.variables["flask_app_env"] = kept
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("name", "value"),
    [("SAFE", f"{HARD}{BRACES}{IN_VALUE}\n{HARD}"), ("BRACES", HARD + BRACES), ("FILED", IN_FILE)],
)
def test_each_character_of_them_arrives(conf, name, value):
    assert conf.ask(f"/env?name={name}").json()["value"] == value


@pytest.mark.parametrize("secret", [IN_VALUE, IN_FILE])
def test_they_are_not_told(run, secret):
    """As they are, or in base64, whatever stands before them."""
    encoded = [base64.b64encode(b"\0" * shift + secret.encode()).decode().rstrip("=")[4:-4] for shift in range(3)]
    assert not [form for form in (secret, *encoded) if form in run.output]
