"""A client of WebSocket (RFC 6455) and graphql-transport-ws. Python 3.11, standard library only.

The client raises ProtocolError if the server violates a protocol: masked or reserved frames, lengths in a form that is
longer than necessary, fragments without a beginning, text that is not UTF-8, or messages for operations that have ended.
"""

import base64
import collections
import hashlib
import json
import os
import socket
import struct
import threading
import time

PROTOCOL = "graphql-transport-ws"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MAX_FRAME_BYTES = 64 << 20


class ProtocolError(Exception):
    """The server violated the protocol or ended something too early."""


class ConnectionClosed(Exception):
    """The connection is closed. The code is None if the server sent no close frame."""

    def __init__(self, code, reason):
        self.code, self.reason = code, reason
        super().__init__(f"closed: {code} {reason}")


# ---------------------------------------------------------------- WebSocket


class WebSocket:
    """A WebSocket connection. One thread may receive while others send."""

    def __init__(self, address, path, protocol, headers=None, timeout=10):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.closing = bytearray(), False
        self.message, self.sending = threading.Lock(), threading.Lock()
        try:
            self.handshake(address, path, protocol, headers or {})
        except BaseException:
            self.socket.close()
            raise

    def handshake(self, address, path, protocol, headers):
        """Performs the opening handshake (RFC 6455, section 4)."""
        key = base64.b64encode(os.urandom(16))
        fields = {"Host": address, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": key.decode(),
                  "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": protocol, **headers}
        head = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.socket.sendall(head.encode() + b"\r\n")
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > 65536:
                raise ProtocolError("the handshake response exceeds 64 KiB")
            self.receive_block()
        status, *lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        del self.buffer[:end + 4]
        if status.split()[1:2] != ["101"]:
            raise ProtocolError(f"the handshake response is {status!r}")
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        upgrade = fields.get("upgrade", "").lower() == "websocket" and "upgrade" in fields.get("connection", "").lower()
        if not upgrade or fields.get("sec-websocket-accept") != accept:
            raise ProtocolError(f"the handshake response is invalid: {fields}")
        if fields.get("sec-websocket-protocol") != protocol or fields.get("sec-websocket-extensions"):
            raise ProtocolError(f"the handshake negotiates another subprotocol or an extension: {fields}")

    def receive_block(self):
        block = self.socket.recv(65536)
        if not block:
            raise ConnectionClosed(None, "the server closed the connection without a close frame")
        self.buffer += block

    def read_bytes(self, size):
        while len(self.buffer) < size:
            self.receive_block()
        block = bytes(self.buffer[:size])
        del self.buffer[:size]
        return block

    def receive_frame(self):
        """Returns the next frame: whether it ends its message, the opcode, and the payload (section 5.2)."""
        first, second = self.read_bytes(2)
        final, opcode, size = bool(first & 0x80), first & 0x0F, second & 0x7F
        if first & 0x70 or opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise self.violation(f"a reserved bit or opcode: {first:#04x}")
        if second & 0x80:
            raise self.violation("the server masks its frames")
        if opcode & 0x8 and (not final or size > 125):
            raise self.violation("a control frame is fragmented or too long")
        if size == 126:
            size, = struct.unpack("!H", self.read_bytes(2))
            minimum = 126
        elif size == 127:
            size, = struct.unpack("!Q", self.read_bytes(8))
            minimum = 65536
        else:
            minimum = 0
        if size < minimum or size > MAX_FRAME_BYTES:
            raise self.violation(f"a length of {size} is too large or in a form that is longer than necessary")
        return final, opcode, self.read_bytes(size)

    def receive(self):
        """Returns the next message: text as str, binary as bytes. Joins fragments and answers pings.

        Raises ConnectionClosed at the end.
        """
        kind, parts = None, []
        while True:
            final, opcode, payload = self.receive_frame()
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                raise self.close_received(payload)
            elif opcode != PONG:
                if (opcode == CONTINUATION) == (kind is None):
                    raise self.violation("a fragment without a beginning, or a new message within a fragmented one")
                kind = kind or opcode
                parts.append(payload)
                if final:
                    message = b"".join(parts)
                    return message if kind == BINARY else self.decode(message)

    def decode(self, payload):
        try:
            return payload.decode()
        except UnicodeDecodeError as error:
            raise self.violation(str(error), 1007) from None

    def close_received(self, payload):
        """Answers a close frame (section 5.5.1); returns the exception with its code and reason."""
        if len(payload) == 1:
            return self.violation("a close frame with one byte")
        self.close()
        code = struct.unpack("!H", payload[:2])[0] if payload else 1005
        return ConnectionClosed(code, self.decode(payload[2:]))

    def violation(self, description, code=1002):
        self.close(code)
        return ProtocolError(description)

    def send(self, opcode, payload, final=True):
        """Sends a masked frame (section 5.3)."""
        size = len(payload)
        head = bytes([(0x80 if final else 0) | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += struct.pack("!BH", 0x80 | 126, size)
        else:
            head += struct.pack("!BQ", 0x80 | 127, size)
        mask = os.urandom(4)
        key = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
        with self.sending:
            self.socket.sendall(head + mask + masked)

    def send_text(self, text, pieces=1):
        """Sends a message in `pieces` fragments, with pings between them."""
        payload = text.encode()
        step = max(1, -(-len(payload) // pieces))
        parts = [payload[i:i + step] for i in range(0, len(payload), step)] or [b""]
        with self.message:
            for i, part in enumerate(parts):
                if i:
                    self.send(PING, b"between fragments")
                self.send(CONTINUATION if i else TEXT, part, final=i == len(parts) - 1)

    def close(self, code=1000):
        """Sends a close frame unless one was sent before."""
        if not self.closing:
            self.closing = True
            try:
                self.send(CLOSE, struct.pack("!H", code))
            except OSError:
                # The server has already closed the connection.
                pass


# ---------------------------------------------------------------- graphql-transport-ws


Item = collections.namedtuple("Item", "at data errors")
End = collections.namedtuple("End", "at kind errors reason")
"""The end of a subscription: `complete`, `error` (with the errors) or `closed` (with its connection, and the reason)."""


class Subscription:
    """The results of one operation, with their times by time.monotonic()."""

    def __init__(self, connection, name):
        self.connection, self.name = connection, name
        self.items, self.end = [], None

    def data(self):
        """Returns the value of the only root field of every item so far."""
        with self.connection.changed:
            items = list(self.items)
        return [next(iter(item.data.values())) for item in items if item.data]

    def errors(self):
        """Returns the errors in all items."""
        with self.connection.changed:
            return [error for item in self.items for error in item.errors]

    def wait(self, condition, seconds, description):
        """Waits until `condition(self)`; raises TimeoutError if the time passes or the subscription ends before."""
        deadline = time.monotonic() + seconds
        with self.connection.changed:
            while not condition(self):
                left = deadline - time.monotonic()
                if self.end or left <= 0:
                    reason = f"ended: {self.end}" if self.end else f"not within {seconds} s"
                    raise TimeoutError(f"{description}: {reason}, after {len(self.items)} items")
                self.connection.changed.wait(left)
        return self

    def wait_for(self, match, seconds, description):
        """Waits until the data of an item matches; returns the data."""
        found = []

        def has_match(_):
            found[:] = [data for data in self.data() if match(data)]
            return found

        self.wait(has_match, seconds, description)
        return found[0]

    def wait_for_end(self, seconds, description):
        return self.wait(lambda it: it.end, seconds, description).end

    def complete(self):
        """Ends the subscription."""
        self.connection.send({"id": self.name, "type": "complete"})


class Connection:
    """A graphql-transport-ws connection of one account. A thread receives messages; any thread may subscribe."""

    def __init__(self, address, key, timeout=10, path="/graphql/ws"):
        self.web = WebSocket(address, path, PROTOCOL, timeout=timeout)
        self.changed = threading.Condition(threading.RLock())
        self.subscriptions, self.pongs, self.failure, self.late_messages = {}, 0, None, []
        try:
            self.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {key}"}})
            while (message := json.loads(self.web.receive()))["type"] == "ping":
                self.send({"type": "pong"})
            if message["type"] != "connection_ack":
                raise ProtocolError(f"expected connection_ack, got {message['type']}")
        except BaseException:
            self.web.socket.close()
            raise
        # The receiving thread has no timeout; sending keeps one.
        self.web.socket.settimeout(None)
        self.web.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", timeout, 0))
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def send(self, message, pieces=1):
        self.web.send_text(json.dumps(message), pieces)

    def subscribe(self, query, pieces=1, **variables):
        """Starts an operation; sends its message in `pieces` fragments."""
        with self.changed:
            name = str(len(self.subscriptions) + 1)
            subscription = self.subscriptions[name] = Subscription(self, name)
        self.send({"id": name, "type": "subscribe", "payload": {"query": query, "variables": variables}}, pieces)
        return subscription

    def read(self):
        try:
            while True:
                self.handle_message(json.loads(self.web.receive()), time.monotonic())
        except (ConnectionClosed, ProtocolError, OSError, ValueError, LookupError) as reason:
            with self.changed:
                self.failure = reason
                for subscription in self.subscriptions.values():
                    subscription.end = subscription.end or End(time.monotonic(), "closed", [], str(reason))
                self.changed.notify_all()

    def handle_message(self, message, now):
        kind = message["type"]
        if kind == "ping":
            self.send({"type": "pong"})
            return
        with self.changed:
            if kind == "pong":
                self.pongs += 1
            else:
                subscription = self.subscriptions[message["id"]]
                payload = message.get("payload")
                if subscription.end:
                    self.late_messages.append(message)
                elif kind == "next":
                    subscription.items.append(Item(now, payload.get("data"), payload.get("errors") or []))
                elif kind == "error":
                    subscription.end = End(now, kind, payload, None)
                elif kind == "complete":
                    subscription.end = End(now, kind, [], None)
                else:
                    raise ProtocolError(f"unknown message type {kind!r}")
            self.changed.notify_all()

    def ping(self, seconds=10):
        """Sends a ping of the protocol and waits for the pong."""
        with self.changed:
            expected = self.pongs + 1
        self.send({"type": "ping"})
        with self.changed:
            if not self.changed.wait_for(lambda: self.pongs >= expected or self.failure, seconds) or self.failure:
                raise TimeoutError(f"no pong received: {self.failure}")

    def reset(self):
        """Resets the connection without a close frame. Keeps the items received so far."""
        self.web.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            # This sends nothing; it wakes the receiving thread.
            self.web.socket.shutdown(socket.SHUT_RD)
        except OSError:
            # The server has already closed the connection.
            pass
        self.thread.join(10)
        self.web.socket.close()

    def close(self):
        """Closes the connection with a close frame."""
        self.web.close()
        self.thread.join(10)
        self.web.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
