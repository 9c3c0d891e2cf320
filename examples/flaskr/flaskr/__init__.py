# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small blog."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from flask import Flask

__version__ = "1.0.0"


def create_app(test_config: Mapping[str, object] | None = None) -> Flask:
    """Make the application.

    ``test_config`` replaces what the environment and the instance folder say.
    Raises RuntimeError when nothing sets ``SECRET_KEY``.
    """
    app = Flask(__name__, instance_relative_config=True)
    app.config.from_mapping(
        DATABASE=str(Path(app.instance_path, "flaskr.sqlite")),
        # A form on another site must not act for a reader who is logged in here.
        SESSION_COOKIE_SAMESITE="Lax",
    )
    if test_config is None:
        app.config.from_pyfile("config.py", silent=True)
        if os.environ.get("SECRET_KEY"):
            app.config["SECRET_KEY"] = os.environ["SECRET_KEY"]
    else:
        app.config.from_mapping(test_config)
    if not app.config["SECRET_KEY"]:
        raise RuntimeError(
            f"SECRET_KEY is not set: set it in the environment or in {Path(app.instance_path, 'config.py')}"
        )
    Path(app.instance_path).mkdir(parents=True, exist_ok=True)

    from . import auth, blog, db

    db.init_app(app)
    app.register_blueprint(auth.blueprint)
    app.register_blueprint(blog.blueprint)
    app.add_url_rule("/", endpoint="index")
    app.add_template_filter(day)

    @app.context_processor
    def version() -> dict[str, str]:
        return {"version": __version__}

    @app.get("/healthz")
    def healthz() -> tuple[str, dict[str, str]]:
        """Say that the app runs and can open its database, with or without tables in it."""
        db.get_db().execute("SELECT 1")
        return "ok", {"Content-Type": "text/plain", "Cache-Control": "no-store"}

    return app


def day(timestamp: str) -> str:
    """Return the day of an ISO 8601 timestamp for people: ``20 November 2026``."""
    moment = datetime.fromisoformat(timestamp)
    return f"{moment.day} {moment:%B %Y}"
