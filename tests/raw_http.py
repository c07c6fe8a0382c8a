"""What a raw connection receives: a message comes in as many pieces as the network likes."""

import re
import socket


def received_until(connection: socket.socket, mark: bytes) -> bytes:
    """All that comes until `mark` is in it; AssertionError where the other side closes before."""
    received = b""
    while mark not in received:
        piece = connection.recv(65536)
        assert piece, f"closed after {received!r}"
        received += piece
    return received


def one_answer(connection: socket.socket) -> bytes:
    """One whole answer with a length, head and body, and what has come behind it."""
    received = received_until(connection, b"\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    missing = (int(length[1]) if length else 0) - len(body)
    while missing > 0:
        piece = connection.recv(missing)
        assert piece, f"closed after {received!r}"
        received += piece
        missing -= len(piece)
    return received
