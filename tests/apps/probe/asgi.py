# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same answers from an ASGI app. Whoever serves it installs quart."""

from __future__ import annotations

import asyncio
import os
import threading

from quart import Quart, request

from . import faults, web
from .version import FAULT, FAULT_SECONDS

app = Quart(__name__)
if FAULT in ("import-error", "dies-when-live"):
    faults.install(app, FAULT, FAULT_SECONDS)


@app.before_request
async def wait():
    if FAULT == "hangs":
        await asyncio.Event().wait()


@app.after_request
async def die_later(response):
    if FAULT == "dies-after-answer":
        threading.Timer(0.05, faults.die).start()
    return response


@app.get("/")
async def index():
    return web.identity()


@app.get("/healthz")
async def healthz():
    return "ok"


@app.post("/echo")
async def echo():
    return web.identity() | {"body": (await request.get_data()).decode()}


@app.get("/slow")
async def slow():
    await asyncio.sleep(request.args.get("seconds", 1.0, float))
    return web.identity()


@app.get("/outlive")
async def outlive():
    return await asyncio.to_thread(web.outlive)


@app.get("/env")
async def env():
    return {"value": os.environ.get(request.args["name"])}


@app.get("/request")
async def received():
    return {"scheme": request.scheme, "headers": dict(request.headers)}
