#!/usr/bin/env python3
# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write the table of variables in each role's README from its argument specification.

``readme_tables.py`` writes; ``readme_tables.py --check`` only tells which tables are not what they should be, and exits
with 1 then.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
BEGIN = "<!-- variables: written by tests/contract/readme_tables.py from meta/argument_specs.yml -->"
END = "<!-- end of variables -->"


def options(role: Path) -> dict[str, Mapping[str, Any]]:
    """The options of all entry points of a role, in the order in which they are written."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    return {name: option for spec in specs.values() for name, option in spec.get("options", {}).items()}


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of options, one row each; sub-options follow the option that they belong to."""
    rows = ["| Variable | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, option in _flat(found):
        cells = [f"`{name}`", _type(option), _default(option), _text(option)]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def with_table(readme: str, new: str) -> str:
    """The README with its table replaced; a README without the two marks gets the table at its end."""
    block = f"{BEGIN}\n{new}\n{END}"
    if BEGIN not in readme:
        return f"{readme.rstrip()}\n\n## Variables\n\n{block}\n"
    head, _, rest = readme.partition(BEGIN)
    return head + block + rest.partition(END)[2]


def _flat(found: Mapping[str, Mapping[str, Any]], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, option in found.items():
        yield prefix + name, option
        inner = "[]." if option.get("type") == "list" else "."
        yield from _flat(option.get("options") or {}, f"{prefix}{name}{inner}")


def _type(option: Mapping[str, Any]) -> str:
    name = option.get("type", "str")
    if option.get("elements"):
        name += f" of {option['elements']}"
    choices = ", ".join(f"`{choice}`" for choice in option.get("choices", []))
    return f"{name}: {choices}" if choices else name


def _default(option: Mapping[str, Any]) -> str:
    if option.get("required"):
        return "**required**"
    value = option.get("default")
    if value is None:
        return ""
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value, ensure_ascii=False)}`"


def _text(option: Mapping[str, Any]) -> str:
    text = option.get("description", "")
    joined = " ".join((text if isinstance(text, str) else " ".join(text)).split())
    return re.sub(r"\b[A-Z]\(((?:\\\)|[^)])*)\)", lambda match: "`" + match[1].replace("\\", "") + "`", joined)


def main(arguments: list[str]) -> int:
    """Write or check the tables of all roles."""
    wrong = 0
    for role in sorted(path.parent.parent for path in ROLES.glob("*/meta/argument_specs.yml")):
        file = role / "README.md"
        before = file.read_text() if file.exists() else f"# {role.name}\n"
        after = with_table(before, table(options(role)))
        if before == after:
            continue
        if "--check" in arguments:
            wrong += 1
            print(f"roles/{role.name}/README.md: the table of variables is not up to date: run {Path(__file__).name}")
        else:
            file.write_text(after)
            print(f"roles/{role.name}/README.md: written")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
