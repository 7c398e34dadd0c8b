"""Serves the release that an alias names, and goes over to the next one when the alias moves. Copy it and make it yours.

    python examples/serve.py s3://acme-models/tickets@production --port 8000
    curl -s localhost:8000/predict -H 'content-type: application/json' -d '{"texts": ["my card is gone"]}'

Everything hard is in contender.serving.Follower; FastAPI and uvicorn come with Contender. Whoever may ask is yours to decide: this
listens on loopback, without passwords, for a proxy in front that has them.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from contender.registry.signing import public_key
from contender.serving import Follower, Live

MOST_TEXTS = 64
MOST_CHARACTERS = 10_000  # of one text; the model reads its first few hundred words anyway
MOST_BYTES = 4 * MOST_TEXTS * MOST_CHARACTERS


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid")

    texts: Annotated[
        list[Annotated[str, Field(max_length=MOST_CHARACTERS)]], Field(min_length=1, max_length=MOST_TEXTS)
    ]
    top: Annotated[int, Field(ge=1, le=20, description="labels in an answer, the likeliest first")] = 1


class Label(BaseModel):
    label: str
    score: float


class Answers(BaseModel):
    release: str = Field(description="the one that gave all of these answers")
    answers: list[list[Label]]


def application(follower: Follower) -> FastAPI:
    @asynccontextmanager
    async def following(_: FastAPI) -> AsyncIterator[None]:
        with follower:
            yield

    app = FastAPI(title=follower.name, lifespan=following)
    app.add_middleware(BoundedBody)

    def live() -> Live:
        if follower.live is None:
            raise HTTPException(503, follower.status.trouble or "no release is loaded yet")
        return follower.live

    @app.post("/predict")
    def predict(question: Question) -> Answers:  # no `async`: it runs in a thread, beside other requests
        now = live()  # taken once: the answers are of one release, whatever the alias does meanwhile
        answers = [
            [Label(label=label, score=score) for label, score in islice(answer.scores.items(), question.top)]
            for answer in now.model.predict(question.texts)
        ]
        return Answers(release=now.entry.release, answers=answers)

    @app.get("/health")
    def health(response: Response) -> dict[str, Any]:
        """200 while something answers, also where it is not the newest: then `trouble` says why."""
        status, ready = follower.status, follower.live is not None
        response.status_code = 200 if ready else 503
        word = ("behind" if status.trouble else "ok") if ready else "not ready"
        return {"status": word, "trouble": status.trouble, "looked": status.looked}

    @app.get("/version")
    def version() -> dict[str, Any]:
        now = live()
        return {"release": now.entry.release, "entry": now.entry.n, "since": now.since, "device": now.model.device}

    @app.exception_handler(RequestValidationError)
    def refused(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [{"where": ".".join(map(str, one["loc"])), "what": one["msg"]} for one in error.errors()]
        return JSONResponse({"detail": faults}, 422)  # FastAPI's own repeats the texts

    return app


class BoundedBody:
    """Refuses a body that is longer than any question, or of unknown length, before it is read into memory."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            length = dict(scope["headers"]).get(b"content-length")
            code = 411 if length is None else 413 if int(length) > MOST_BYTES else 0
            if code:
                await JSONResponse({"detail": f"at most {MOST_BYTES} bytes, told beforehand"}, code)(
                    scope, receive, send
                )
                return
        await self.app(scope, receive, send)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("name", metavar="REGISTRY_URL/NAME[@ALIAS]")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8000)
    options.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="between looks at the alias")
    options.add_argument("--folder", default="serving", help="where releases are pulled to")
    options.add_argument("--profile", help="profile of the AWS configuration")
    options.add_argument("--public-key", metavar="FILE", help="serve only what this Ed25519 key signed (PEM)")
    options.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: the best)")
    given = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    key = public_key(Path(given.public_key).read_bytes()) if given.public_key else None
    follower = Follower.of(given.name, given.folder, given.every, given.device, given.profile, key)
    uvicorn.run(application(follower), host=given.host, port=given.port)


if __name__ == "__main__":
    main()
