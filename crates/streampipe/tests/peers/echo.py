"""What the tests of the library talk with: `echo.py <descriptor> <task>` sends back what it is sent."""

import os
import socket
import sys

from peer import ANSWER, MAX_PAYLOAD, MESSAGE, NO_ANSWER, REQUEST, Peer


def main(number, task):
    peer = Peer(socket.socket(fileno=int(number)))
    while (message := peer.recv()) is not None:
        # The files that the test sends are numbered.
        for place, fd in enumerate(message.fds):
            assert os.pread(fd, 20, 0) == b"%d" % place, "another file"
        if message.kind == REQUEST and message.payload == b"no answer":
            peer.send(kind=NO_ANSWER, id=message.id)
        elif message.kind == REQUEST:
            peer.send(message.payload, message.fds, ANSWER, message.id)
        elif message.kind == MESSAGE and message.payload == b"ask":
            peer.request(b"what?", message.fds)
        elif message.kind == MESSAGE:
            if task == "withdraw":
                own = message.fds + [0] * 300
                peer.withdraw(b"never" * 20000, own, 1)
                peer.withdraw(b"never", own, 1)
                peer.withdraw(b"never", own, 2)
                peer.withdraw(b"never" * 3, own, 14, cut=1)
            peer.send(message.payload, message.fds, cut=1000 if task == "cut" else MAX_PAYLOAD)
        peer.close(message.fds)
    peer.send(b"that was all")


if __name__ == "__main__":
    main(*sys.argv[1:])
