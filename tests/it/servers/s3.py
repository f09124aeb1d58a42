"""An S3 server for the tests: moto behind a journal, so that what it answered survives `kill -9`.

    python3 s3.py PORT JOURNAL

Each request that changes something is in the journal before it is answered; a server that is started on
an old journal carries all of it out again before it listens. It ends when its standard input does, so
that it never outlives the tests.
"""

import base64
import functools
import io
import json
import os
import signal
import sys
import threading

import moto.core.serialize as serialize
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple
from werkzeug.test import Client

port, journal_path = int(sys.argv[1]), sys.argv[2]
# Of all of moto the one service, without looking for the service of every request.
moto = create_backend_app("s3")
# A listing says when each object was written, over and over, and moto reads it from text each time.
serialize.parse_to_aware_datetime = functools.lru_cache(maxsize=None)(serialize.parse_to_aware_datetime)


def replay():
    client = Client(moto)
    for line in open(journal_path):
        if not line.endswith("\n"):
            break  # cut off by the kill, and not answered
        entry = json.loads(line)
        client.open(
            path=entry["path"],
            method=entry["method"],
            headers=entry["headers"],
            data=base64.b64decode(entry["body"]),
            base_url=f"http://127.0.0.1:{port}",
        ).close()


if os.path.exists(journal_path):
    replay()
journal, turn = open(journal_path, "a"), threading.Lock()


def kill_if_due(where):
    """Ends as by `kill -9` when the file beside the journal says so: a number of requests and `before` the last of them, which
    is lost, or `behind` it, which is kept and not answered."""
    try:
        left, due = open(journal_path + "-kill").read().split()
    except FileNotFoundError:
        return
    if where == due and int(left) == 0:
        os.remove(journal_path + "-kill")
        os.kill(os.getpid(), signal.SIGKILL)
    if where == "behind":
        with open(journal_path + "-kill", "w") as file:
            file.write(f"{int(left) - 1} {due}")


def journaled(environ, start_response):
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return moto(environ, start_response)
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    headers = {
        name[5:].replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and name not in ("HTTP_TRANSFER_ENCODING", "HTTP_CONNECTION")
    }
    entry = {
        "method": environ["REQUEST_METHOD"],
        "path": environ["REQUEST_URI"],
        "headers": headers,
        "body": base64.b64encode(body).decode(),
    }
    # Carried out in the order of the journal, and no two at a time: so are conditional puts.
    with turn:
        kill_if_due("before")
        journal.write(json.dumps(entry) + "\n")
        journal.flush()
        kill_if_due("behind")
        return moto(environ, start_response)


def end_with_the_tests():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_the_tests, daemon=True).start()
WSGIRequestHandler.protocol_version = "HTTP/1.1"
WSGIRequestHandler.log_request = lambda *_: None
run_simple("127.0.0.1", port, journaled, threaded=True)
