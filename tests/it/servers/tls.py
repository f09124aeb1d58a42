"""TLS in front of a server that has none: for the tests of clients.

    python3 tls.py PORT TARGET_PORT CERTIFICATE KEY

It ends when its standard input does, so that it never outlives the tests.
"""

import os
import socket
import ssl
import sys
import threading

port, target = int(sys.argv[1]), int(sys.argv[2])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3], sys.argv[4])


def carry(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(plain):
    try:
        client = context.wrap_socket(plain, server_side=True)
        server = socket.create_connection(("127.0.0.1", target))
    except OSError:
        return plain.close()
    threading.Thread(target=carry, args=(client, server), daemon=True).start()
    carry(server, client)


def end_with_the_tests():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_the_tests, daemon=True).start()
listener = socket.create_server(("127.0.0.1", port))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
