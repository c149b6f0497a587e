"""The review in a browser: a page on the loopback address that nobody but its opener can use.

The address carries a random token, which serves one opening: the first request that brings it gets a cookie,
another secret (HttpOnly, SameSite=Strict), and every other request must bring that, be addressed to this
machine by its own name (a foreign name that points to 127.0.0.1 is refused), and, where the browser names the
page that asked, come from this one. Any other gets an empty 403. Pictures are asked for by the number of a
pair, never by a path. The browser is given a file that only its user can read, which leads to the address:
command lines are open to every user.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import webbrowser
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dupnet.files.atomic import write_csv
from dupnet.report.previews import encode
from dupnet.review.judgements import VERDICTS, labels
from dupnet.review.queue import Review

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.serving import BaseWSGIServer

__all__ = ["create_app", "make_server", "serve"]

_ASSETS = {"review.css": "text/css", "review.js": "text/javascript"}

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(review: Review, token: str, port: int) -> Flask:
    """The page as a WSGI application.

    Parameters
    ----------
    review
        What to judge.
    token
        The secret that the first request must carry, and none after it.
    port
        Where it will be served. Requests may be addressed to any port of this machine, for a tunnel can begin
        at another one, but to no other name.
    """
    from flask import Flask, Response, abort, jsonify, render_template, request

    app = Flask("dupnet", static_folder=None, template_folder=str(files("dupnet.review") / "templates"))
    # Cookies do not know ports: two reviews on one machine need two names.
    cookie = f"dupnet_review_{port}"
    app.config["MAX_CONTENT_LENGTH"] = 10_000
    session = secrets.token_urlsafe(32)
    unused, mutex = [token], threading.Lock()

    def is_same(given: str, secret: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "replace"), secret.encode())

    def spends_token() -> bool:
        """Whether a request opens the page with the token; from then on the token opens nothing."""
        with mutex:
            if not unused or not is_same(request.args.get("token", ""), unused[0]):
                return False
            unused.clear()
            return True

    @app.before_request
    def admit() -> Response | None:
        host, origin = request.host, request.headers.get("Origin")
        admitted = (
            host.rpartition(":")[0] in ("127.0.0.1", "localhost")
            and (origin is None or origin == f"http://{host}")
            # A form of another page can post text, but not JSON.
            and (request.method in ("GET", "HEAD") or (request.method == "POST" and request.is_json))
        )
        within = request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")
        if admitted and within and is_same(request.cookies.get(cookie, ""), session):
            return None
        # What a browser loads beforehand must not use the token up.
        opens = request.path == "/" and request.method == "GET" and "Sec-Purpose" not in request.headers
        return None if admitted and opens and spends_token() else Response(status=403)

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    @app.errorhandler(ValueError)
    def refuse(error: ValueError) -> tuple[Response, int]:
        return jsonify(error=str(error)), 404

    @app.get("/")
    def page() -> Response:
        response = Response(render_template("review.html"), mimetype="text/html")
        response.set_cookie(cookie, session, httponly=True, samesite="Strict")
        return response

    @app.get("/<name>")
    def asset(name: str) -> Response:
        if name not in _ASSETS:
            abort(404)
        text = (files("dupnet.review") / "templates" / name).read_text(encoding="utf-8")
        return Response(text, mimetype=_ASSETS[name])

    @app.get("/state")
    def state() -> Response:
        pair = request.args.get("pair", None, int)
        if pair is not None and not 0 <= pair < len(review.pairs):
            abort(404)
        shown = review.next_pair(request.args.get("after", -1, int)) if pair is None else pair
        return jsonify(review.state(shown))

    @app.get("/pairs")
    def pairs() -> Response:
        asked = request.args
        return jsonify(
            review.listed(asked.get("text", ""), asked.get("kind", ""), asked.get("start", 0, int))
        )

    @app.post("/judge")
    def judge() -> Response:
        asked = request.get_json()
        pair, verdict = (asked.get("pair"), asked.get("verdict")) if isinstance(asked, dict) else (None, None)
        if type(pair) is not int or verdict not in VERDICTS:
            abort(400)
        told = review.judge(pair, verdict)  # returns when the row is on the disk, or was there before
        stays = told.startswith("Not kept")
        return jsonify(told=told, **review.state(pair if stays else review.next_pair(pair)))

    @app.post("/accept")
    def accept() -> Response:
        asked = request.get_json()
        pair = asked.get("pair") if isinstance(asked, dict) else None
        if type(pair) is not int:
            abort(400)
        n_given = review.accept_group(pair)
        told = f"{n_given} pairs of this group are judged duplicate. Undo takes all of them back."
        return jsonify(told=told, **review.state(review.next_pair(pair)))

    @app.post("/undo")
    def undo() -> Response:
        asked = request.get_json()
        wanted = asked.get("pair") if isinstance(asked, dict) else None
        if wanted is not None and type(wanted) is not int:
            abort(400)
        pair = review.undo(wanted)
        told = "" if pair is not None else "Nothing to take back: only who gave a judgement takes it back."
        shown = pair if pair is not None else review.next_pair() if wanted is None else wanted
        return jsonify(told=told, **review.state(shown))

    @app.get("/picture/<int:pair>/<name>")
    def picture(pair: int, name: str) -> Response:
        image = review.picture(pair, name, request.args.get("tile", None, int))
        whole = name in ("image1", "image2")
        data = encode(image, ".jpg", 90) if whole else encode(image)  # differences must arrive to the level
        return Response(data, mimetype="image/jpeg" if whole else "image/png")

    @app.get("/tiles/<int:pair>")
    def tiles(pair: int) -> Response:
        return jsonify(review.tiles(pair))

    @app.get("/places/<int:pair>")
    def places(pair: int) -> Response:
        return jsonify(review.places(pair))

    @app.get("/labels.csv")
    def export() -> Response:
        with TemporaryDirectory() as folder:
            path = Path(folder, "labels.csv")
            write_csv(labels(review.judgements.table()), path)
            content = path.read_bytes()
        headers = {"Content-Disposition": "attachment; filename=labels.csv"}
        return Response(content, mimetype="text/csv", headers=headers)

    return app


def make_server(review: Review, port: int = 0) -> tuple[BaseWSGIServer, str]:
    """A server on the loopback address, not yet serving, and the address to open.

    Parameters
    ----------
    review
        What to judge.
    port
        The port; 0 takes a free one.

    Raises
    ------
    ValueError
        If Flask is not installed, or the port is in use or not in 0 to 65535.
    """
    try:
        import flask  # noqa: F401  what create_app needs
        from werkzeug.serving import WSGIRequestHandler
        from werkzeug.serving import make_server as make
    except ImportError:
        raise ValueError("The review in a browser needs Flask: pip install 'dupnet[review]'.") from None

    class QuietHandler(WSGIRequestHandler):
        # The log would show the token to whoever reads the terminal later.
        def log(self, type: str, message: str, *args: object) -> None:
            pass

    if not 0 <= port <= 65535:
        raise ValueError(f"port is {port}; it must be in 0 to 65535, where 0 takes a free one.")
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        listening.close()
        raise ValueError(f"port {port} cannot be used ({error.strerror}); choose another (--port).") from None
    listening.listen()
    port = listening.getsockname()[1]
    token = secrets.token_urlsafe(32)
    app = create_app(review, token, port)
    server = make("127.0.0.1", port, app, threaded=True, request_handler=QuietHandler, fd=listening.fileno())
    listening.close()
    return server, f"http://127.0.0.1:{port}/?token={token}"


def serve(review: Review, port: int = 0, open_browser: bool = True) -> None:
    """Serve the page until Ctrl-C, and print its address, which is the only way in.

    Parameters
    ----------
    review
        What to judge; its judgements are closed at the end.
    port
        The port; 0 takes a free one.
    open_browser
        Open the page in the default browser.

    Raises
    ------
    ValueError
        If Flask is not installed, or the port is in use or not in 0 to 65535.
    """
    server, address = make_server(review, port)
    sys.stdout.write(
        f"Judge the pairs at {address}\n{_tunnel(address)}"
        f"Every answer is kept in {review.judgements.path}. Ctrl-C ends.\n"
    )
    sys.stdout.flush()
    with TemporaryDirectory(prefix="dupnet-review-") as folder:  # for this user alone
        if open_browser:
            leads = _redirect(address, Path(folder, "open.html"))
            threading.Thread(target=webbrowser.open, args=(leads,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            server.server_close()
            review.judgements.close()


def _tunnel(address: str) -> str:
    """How to reach an address of this machine from where its user sits, if that is elsewhere; else ""."""
    if not os.environ.get("SSH_CONNECTION"):
        return ""
    port = address.split(":")[2].split("/")[0]
    return (
        f"From your own machine: ssh -N -L {port}:127.0.0.1:{port} HOST, then open that address there. Where "
        f"the port {port} is taken, put another one before the first colon, and into the address.\n"
    )


def _redirect(address: str, path: Path) -> str:
    """A new file, readable by its owner alone, that leads a browser to an address; its own address."""
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(
            '<!doctype html><meta charset="utf-8"><title>DupNet review</title>'
            f'<meta http-equiv="refresh" content="0; url={address}"><a href="{address}">DupNet review</a>\n'
        )
    return path.as_uri()
