"""A peer that speaks `doc/PROTOCOL.md`, in nothing but Python's standard library (3.9 and later).

    peer = Peer(socket.socket(fileno=3))
    peer.send(b"take this", [file.fileno()])
    message = peer.recv()
"""

import array
import collections
import os
import socket
import struct

HEADER = struct.Struct("<2sBBHHIIQQ")  # magic, version, kind, flags, fds, length, rest_fds, rest, id
MAX_PAYLOAD, MAX_FDS = 73728, 253
MESSAGE, REQUEST, ANSWER, NO_ANSWER, WITHDRAWAL = range(1, 6)

Message = collections.namedtuple("Message", "kind id payload fds")


class Violation(Exception):
    """The other side does not follow the protocol. Nothing can be received any more."""


def check(is_so, what):
    if not is_so:
        raise Violation(what)


class Peer:
    def __init__(self, sock, most_bytes=128 << 20, most_fds=4096):
        self.sock, self.is_stream = sock, sock.type == socket.SOCK_STREAM
        self.most_bytes, self.most_fds, self.last_id = most_bytes, most_fds, 0

    # --- sending ---

    def send(self, payload=b"", fds=(), kind=MESSAGE, id=0, cut=MAX_PAYLOAD):
        for frame in self.frames(payload, fds, kind, id, cut):
            self.put(*frame)

    def request(self, payload=b"", fds=()):
        self.last_id += 1
        self.send(payload, fds, REQUEST, self.last_id)
        return self.last_id

    def withdraw(self, payload, fds, frames, cut=MAX_PAYLOAD, kind=MESSAGE, id=0):
        """Begins a message, and takes it back after so many frames."""
        parts = list(self.frames(payload, fds, kind, id, cut))
        assert 0 < frames < len(parts), "only what was begun and is not complete can be withdrawn"
        for frame in parts[:frames]:
            self.put(*frame)
        self.put(HEADER.pack(b"SP", 1, WITHDRAWAL, 0, 0, 0, 0, 0, id), b"", ())

    def frames(self, payload, fds, kind, id, cut):
        payload, at, first = memoryview(payload), 0, True
        while first or at < len(payload):
            part, first = payload[at:at + cut], False
            at += len(part)
            yield HEADER.pack(b"SP", 1, kind, 0, 0, len(part), len(fds), len(payload) - at, id), part, ()
        for at in range(0, len(fds), MAX_FDS):
            some = fds[at:at + MAX_FDS]
            yield HEADER.pack(b"SP", 1, kind, 0, len(some), 0, len(fds) - at - len(some), 0, id), b"", some

    def put(self, header, payload, fds):
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.sock.sendmsg([header, payload], control)
        if sent < len(header) + len(payload):  # a stream; the descriptors went with the first byte
            self.sock.sendall(b"".join([header, payload])[sent:])

    # --- receiving ---

    def recv(self):
        """The next message, whose descriptors are the caller's to close; `None` at the end."""
        begun, payload, fds, is_kept = None, bytearray(), [], False
        try:
            while True:
                due = min(MAX_FDS, begun.rest_fds) if begun and begun.rest == 0 else 0
                frame = self.get_frame(due, fds if is_kept else None)
                if frame is None:
                    check(begun is None, "the end inside of a message")
                    return None
                header, part = frame
                header.check(begun)
                if header.kind == WITHDRAWAL:
                    self.close(fds)
                    begun, payload, is_kept = None, bytearray(), False
                    continue
                if begun is None:
                    is_kept = len(part) + header.rest <= self.most_bytes and header.rest_fds <= self.most_fds
                begun = header
                if is_kept:
                    payload += part
                if header.rest == 0 and header.rest_fds == 0:
                    if is_kept:
                        return Message(header.kind, header.id, bytes(payload), fds)
                    begun, payload, is_kept = None, bytearray(), False
        except BaseException:
            self.close(fds)
            raise

    def get_frame(self, due, fds):
        """A header and its payload. Descriptors that are due go to `fds`; if that is None, the kernel closes them."""
        if not self.is_stream:
            packet, came, lost = self.get(HEADER.size + MAX_PAYLOAD + 1, due, fds)
            if packet == b"" and not came:
                return None
            check(len(packet) >= HEADER.size, "a packet without a header")
            header, part = Header._make(HEADER.unpack_from(packet)), packet[HEADER.size:]
            check(header.length == len(part), "a packet of another length than it says")
        else:
            head, came, lost = self.get(HEADER.size, due, fds)
            if head == b"":
                return None
            head += self.get_exactly(HEADER.size - len(head))
            header = Header._make(HEADER.unpack(head))
            check(header.length <= MAX_PAYLOAD, "too long a frame")
            part = self.get_exactly(header.length)
        if fds is not None or header.fds == 0:
            check(came == header.fds and not lost, f"{came} descriptors, and not {header.fds}")
        return header, part

    def get_exactly(self, count):
        """Bytes that bring no descriptors."""
        got = bytearray()
        while len(got) < count:
            part, came, lost = self.get(count - len(got), 0, None)
            check(part != b"", "the end inside of a frame")
            check(not lost, "descriptors with bytes that may have none")
            got += part
        return bytes(got)

    def get(self, most, due, fds):
        room = socket.CMSG_LEN(4 * due) if due and fds is not None else 0
        part, control, flags, _ = self.sock.recvmsg(most, room, socket.MSG_CMSG_CLOEXEC)
        new = array.array("i", b"".join(data for _, _, data in control))
        if fds is not None:
            fds.extend(new)
        return part, len(new), bool(flags & socket.MSG_CTRUNC)

    @staticmethod
    def close(fds):
        while fds:
            os.close(fds.pop())


class Header(collections.namedtuple("Header", "magic version kind flags fds length rest_fds rest id")):
    def check(self, begun):
        """Whether this frame may follow that one, of which more is due, or begin a message if there is none."""
        check((self.magic, self.version) == (b"SP", 1), "no frame of version 1")
        check(MESSAGE <= self.kind <= WITHDRAWAL and self.flags == 0, "an unknown kind or flag")
        check(self.length <= MAX_PAYLOAD and self.fds <= MAX_FDS, "too much for a frame")
        check(self.length + self.rest < 1 << 64 and self.fds + self.rest_fds < 1 << 32, "counts too large")
        if self.kind == WITHDRAWAL:
            check(self.length == self.rest == self.fds == self.rest_fds == 0, "a withdrawal that has something")
            check(begun and begun.id == self.id, "a withdrawal of nothing that was begun")
        elif begun is None:
            check(self.fds == 0 and (self.length > 0 or self.rest == 0), "no first frame")
        else:
            check((self.kind, self.id) == (begun.kind, begun.id), "a frame of another message")
            check(self.length + self.rest == begun.rest, "payload that does not add up")
            check(self.fds + self.rest_fds == begun.rest_fds, "descriptors that do not add up")
            if begun.rest:
                check(self.length > 0 and self.fds == 0, "payload is due")
            else:
                check(self.fds == min(MAX_FDS, begun.rest_fds), "so many descriptors are due")
