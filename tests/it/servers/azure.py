"""Azurite, Microsoft's emulator of Azure Blob Storage, for the tests.

azure.py serve PORT [FOLDER]  until standard input closes, as it does when the tests end; what it keeps is in
                              memory, or in the folder for the next one
azure.py container PORT NAME  makes a container
"""

import base64
import email.utils
import hashlib
import hmac
import subprocess
import sys
import urllib.request

ACCOUNT = "devstoreaccount1"
# Everybody has it.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-12-02"


def serve(port, folder=None):
    azurite = subprocess.Popen(
        ["azurite-blob", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        + ["--blobHost", "127.0.0.1", "--blobPort", port]
        + (["--location", folder] if folder else ["--inMemoryPersistence"]),
        stdin=subprocess.DEVNULL,
    )
    sys.stdin.read()
    if folder:
        # It writes names and properties every five seconds, and when it is asked to end.
        azurite.terminate()
        try:
            azurite.wait(timeout=10)
        except subprocess.TimeoutExpired:
            pass
    azurite.kill()
    azurite.wait()


def container(port, name):
    date = email.utils.formatdate(usegmt=True)
    headers = f"x-ms-date:{date}\nx-ms-version:{VERSION}\n"
    resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signed = "PUT" + "\n" * 12 + headers + resource
    digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/{ACCOUNT}/{name}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": VERSION,
            "Content-Length": "0",
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
        },
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201, answer.status


{"serve": serve, "container": container}[sys.argv[1]](*sys.argv[2:])
