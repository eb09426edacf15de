"""The same work by multiprocessing.Pipe.

Told on standard input what to do, a line each; answers each with a line of JSON: nanoseconds.
Arguments: what is sent (bytes, objects, descriptors), our processor, the peer's processor.
"""

import json
import multiprocessing
import os
import socket
import stat
import sys
import time
from multiprocessing import reduction


def filled(sequence, size):
    """The sequence, then a payload of as many repetitions as fit: filled by C, at memory speed."""
    return sequence.to_bytes(8, "little") * (1 + size // 8)


def check(sequence, payload):
    if payload != filled(sequence, len(payload) - 8):
        raise ValueError("arrived with another payload")


class Bytes:
    """send_bytes and recv_bytes: no pickle."""

    def __init__(self, connection):
        self.connection = connection

    def send(self, sequence, size, descriptors):
        self.connection.send_bytes(filled(sequence, size))

    def recv(self):
        data = self.connection.recv_bytes()
        sequence = int.from_bytes(data[:8], "little")
        check(sequence, data)
        return sequence, len(data) - 8


class Objects:
    """send and recv: a tuple, pickled."""

    def __init__(self, connection):
        self.connection = connection

    def send(self, sequence, size, descriptors):
        self.connection.send((sequence, filled(sequence, size)))

    def recv(self):
        sequence, data = self.connection.recv()
        check(sequence, data)
        return sequence, len(data) - 8


class Descriptors:
    """A tuple, then the descriptors as multiprocessing itself passes them."""

    def __init__(self, connection):
        self.connection = connection
        self.socket = socket.socket(fileno=os.dup(connection.fileno()))
        self.file = os.open(os.devnull, os.O_RDONLY)

    def send(self, sequence, size, descriptors):
        self.connection.send((sequence, filled(sequence, size), descriptors))
        if descriptors:
            reduction.sendfds(self.socket, [self.file] * descriptors)

    def recv(self):
        sequence, data, descriptors = self.connection.recv()
        check(sequence, data)
        if descriptors:
            for number in reduction.recvfds(self.socket, descriptors):
                if not stat.S_ISCHR(os.fstat(number).st_mode):
                    raise ValueError("another file arrived")
                os.close(number)
        return sequence, len(data) - 8


ENDS = {"bytes": Bytes, "objects": Objects, "descriptors": Descriptors}
# A new process that runs this file, as the others' peers are; a fork would be another comparison.
SPAWN = multiprocessing.get_context("spawn")


def settle(processor):
    if processor != "any":
        os.sched_setaffinity(0, {int(processor)})


def serve(kind, processor, connection):
    """The peer: answers messages whose sequence is odd."""
    settle(processor)
    end = ENDS[kind](connection)
    try:
        while True:
            sequence, size = end.recv()
            if sequence & 1:
                end.send(sequence, size, 0)
    except (EOFError, ConnectionResetError):
        pass


def start(kind, processor):
    ours, theirs = SPAWN.Pipe()
    # Ended with us, should we fail: nobody else would tell it.
    peer = SPAWN.Process(target=serve, args=(kind, processor, theirs), daemon=True)
    peer.start()
    theirs.close()
    return ours, peer


def trips(end, size, descriptors, count):
    times = []
    for number in range(count):
        sequence = number << 1 | 1
        start = time.perf_counter_ns()
        end.send(sequence, size, descriptors)
        answer = end.recv()
        times.append(time.perf_counter_ns() - start)
        if answer != (sequence, size):
            raise ValueError(f"{answer} answers {sequence}")
    return times


def train(end, size, count):
    start = time.perf_counter_ns()
    for number in range(1, count):
        end.send(number << 1, size, 0)
    end.send(count << 1 | 1, size, 0)
    answer = end.recv()
    took = time.perf_counter_ns() - start
    if answer != (count << 1 | 1, size):
        raise ValueError(f"{answer} answers the last of {count}")
    return [took]


def pairs(count):
    times = []
    for _ in range(count):
        start = time.perf_counter_ns()
        for end in SPAWN.Pipe():
            end.close()
        times.append(time.perf_counter_ns() - start)
    return times


def starts(count):
    times = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        ours, peer = start("objects", "any")
        times += [time.perf_counter_ns() - begin + trips(Objects(ours), 64, 0, 1)[0]]
        ours.close()
        peer.join()
    return times


def main():
    kind, ours, theirs = sys.argv[1:]
    settle(ours)
    connection, peer = start(kind, theirs) if kind in ENDS else (None, None)
    end = ENDS[kind](connection) if connection else None
    for line in sys.stdin:
        name, *numbers = line.split()
        numbers = [int(number) for number in numbers]
        if name == "trips":
            times = trips(end, *numbers)
        elif name == "train":
            times = train(end, *numbers)
        else:
            times = {"pairs": pairs, "starts": starts}[name](*numbers)
        print(json.dumps(times), flush=True)
    # A copy of our end in `Descriptors` would keep the peer waiting.
    end = None
    if connection:
        connection.close()
        peer.join()


if __name__ == "__main__":
    main()
