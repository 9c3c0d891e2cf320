# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Posts: list, create, update, delete."""

from __future__ import annotations

import sqlite3

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from .auth import login_required
from .db import get_db

blueprint = Blueprint("blog", __name__)

POSTS = "SELECT post.id, title, body, created, author_id, username FROM post JOIN user ON user.id = author_id"


@blueprint.get("/")
def index() -> str:
    """List all posts, newest first."""
    posts = get_db().execute(f"{POSTS} ORDER BY post.id DESC").fetchall()
    return render_template("blog/index.html", posts=posts)


@blueprint.route("/create", methods=("GET", "POST"))
@login_required
def create() -> ResponseReturnValue:
    """Write a new post."""
    if request.method == "POST" and (fields := submitted()):
        db = get_db()
        with db:
            db.execute("INSERT INTO post (author_id, title, body) VALUES (?, ?, ?)", (g.user["id"], *fields))
        return redirect(url_for("index"))
    return render_template("blog/form.html", post=None)


@blueprint.route("/<int:post_id>/update", methods=("GET", "POST"))
@login_required
def update(post_id: int) -> ResponseReturnValue:
    """Change a post of one's own."""
    post = own_post(post_id)
    if request.method == "POST" and (fields := submitted()):
        db = get_db()
        with db:
            db.execute("UPDATE post SET title = ?, body = ? WHERE id = ?", (*fields, post_id))
        return redirect(url_for("index"))
    return render_template("blog/form.html", post=post)


@blueprint.post("/<int:post_id>/delete")
@login_required
def delete(post_id: int) -> ResponseReturnValue:
    """Delete a post of one's own."""
    own_post(post_id)
    db = get_db()
    with db:
        db.execute("DELETE FROM post WHERE id = ?", (post_id,))
    return redirect(url_for("index"))


def own_post(post_id: int) -> sqlite3.Row:
    """Return a post of the person who is logged in; abort with 404 or 403."""
    post = get_db().execute(f"{POSTS} WHERE post.id = ?", (post_id,)).fetchone()
    if post is None:
        abort(404)
    if post["author_id"] != g.user["id"]:
        abort(403)
    return post


def submitted() -> tuple[str, str] | None:
    """Return title and body of the submitted form, or None with a message to the reader."""
    title, body = request.form["title"].strip(), request.form["body"]
    if title:
        return title, body
    flash("A title is needed.")
    return None
