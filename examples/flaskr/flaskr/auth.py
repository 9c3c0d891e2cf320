# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Accounts: register, log in, log out."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import wraps

from flask import Blueprint, flash, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.security import check_password_hash, generate_password_hash

from .db import get_db

blueprint = Blueprint("auth", __name__, url_prefix="/auth")


@blueprint.before_app_request
def load_user() -> None:
    """Set ``g.user`` to the row of who is logged in, or to None. A visitor without a session costs no query."""
    user_id = session.get("user_id")
    g.user = None
    if user_id is not None:
        g.user = get_db().execute("SELECT id, username FROM user WHERE id = ?", (user_id,)).fetchone()


def login_required(view: Callable[..., ResponseReturnValue]) -> Callable[..., ResponseReturnValue]:
    """Send a visitor who is not logged in to the login page."""

    @wraps(view)
    def guarded(**kwargs: object) -> ResponseReturnValue:
        if g.user is None:
            return redirect(url_for("auth.login"))
        return view(**kwargs)

    return guarded


@blueprint.route("/register", methods=("GET", "POST"))
def register() -> ResponseReturnValue:
    """Make an account and go on to the login page."""
    if request.method == "POST":
        username, password = request.form["username"].strip(), request.form["password"]
        if not username or not password:
            flash("A name and a password are both needed.")
        else:
            db = get_db()
            try:
                with db:
                    db.execute(
                        "INSERT INTO user (username, password) VALUES (?, ?)",
                        (username, generate_password_hash(password)),
                    )
            except sqlite3.IntegrityError:
                flash(f"The name {username} is taken.")
            else:
                return redirect(url_for("auth.login"))
    return render_template("auth/form.html", title="Register", button="Register", new=True)


@blueprint.route("/login", methods=("GET", "POST"))
def login() -> ResponseReturnValue:
    """Start a session."""
    if request.method == "POST":
        user = (
            get_db()
            .execute("SELECT id, password FROM user WHERE username = ?", (request.form["username"].strip(),))
            .fetchone()
        )
        if user and check_password_hash(user["password"], request.form["password"]):
            session.clear()
            session["user_id"] = user["id"]
            return redirect(url_for("index"))
        # One message for both, so that nobody can find out which names exist.
        flash("That name and password do not belong together.")
    return render_template("auth/form.html", title="Log in", button="Log in", new=False)


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """End the session."""
    session.clear()
    return redirect(url_for("index"))
