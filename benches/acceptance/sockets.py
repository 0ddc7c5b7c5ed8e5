"""A WebSocket client (RFC 6455), and the protocol graphql-transport-ws on top of it. Python 3.11, standard library only.

What the server must not do raises Broken: masked or reserved frames, lengths that are longer than they need to be,
fragments without a beginning, text that is not UTF-8, messages for operations that have ended.
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
LARGEST = 64 << 20


class Broken(Exception):
    """The server did not keep to the protocol, or ended something too early."""


class Closed(Exception):
    """The connection is over: with the server's close code and reason, or with code None where it just went away."""

    def __init__(self, code, reason):
        self.code, self.reason = code, reason
        super().__init__(f"closed: {code} {reason}")


# ---------------------------------------------------------------- WebSocket


class WebSocket:
    """One connection. One thread may receive while others send."""

    def __init__(self, address, path, protocol, headers=None, timeout=10):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.closing = bytearray(), False
        self.message, self.sending = threading.Lock(), threading.Lock()
        try:
            self.shake_hands(address, path, protocol, headers or {})
        except BaseException:
            self.socket.close()
            raise

    def shake_hands(self, address, path, protocol, headers):
        """Section 4."""
        key = base64.b64encode(os.urandom(16))
        fields = {"Host": address, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": key.decode(),
                  "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": protocol, **headers}
        head = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.socket.sendall(head.encode() + b"\r\n")
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > 65536:
                raise Broken("the handshake's answer does not end")
            self.fill()
        status, *lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        answer = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        del self.buffer[:end + 4]
        if status.split()[1:2] != ["101"]:
            raise Broken(f"the handshake's answer is {status!r}")
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        upgrade = answer.get("upgrade", "").lower() == "websocket" and "upgrade" in answer.get("connection", "").lower()
        if not upgrade or answer.get("sec-websocket-accept") != accept:
            raise Broken(f"the handshake is wrong: {answer}")
        if answer.get("sec-websocket-protocol") != protocol or answer.get("sec-websocket-extensions"):
            raise Broken(f"the handshake agrees on something else: {answer}")

    def fill(self):
        block = self.socket.recv(65536)
        if not block:
            raise Closed(None, "the server went away without a close frame")
        self.buffer += block

    def take(self, size):
        while len(self.buffer) < size:
            self.fill()
        block = bytes(self.buffer[:size])
        del self.buffer[:size]
        return block

    def frame(self):
        """The next frame: whether it is the last of its message, opcode, payload (section 5.2)."""
        first, second = self.take(2)
        final, opcode, size = bool(first & 0x80), first & 0x0F, second & 0x7F
        if first & 0x70 or opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise self.violated(f"a reserved bit or opcode: {first:#04x}")
        if second & 0x80:
            raise self.violated("the server masks its frames")
        if opcode & 0x8 and (not final or size > 125):
            raise self.violated("a control frame in fragments, or too long")
        if size == 126:
            size, = struct.unpack("!H", self.take(2))
            least = 126
        elif size == 127:
            size, = struct.unpack("!Q", self.take(8))
            least = 65536
        else:
            least = 0
        if size < least or size > LARGEST:
            raise self.violated(f"a length of {size} in a longer form than it needs, or too large")
        return final, opcode, self.take(size)

    def receive(self):
        """The next message, text as str and binary as bytes, put together from its fragments; pings on the way are
        answered. Raises Closed where there is none any more.
        """
        kind, parts = None, []
        while True:
            final, opcode, payload = self.frame()
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                raise self.closed(payload)
            elif opcode != PONG:
                if (opcode == CONTINUATION) == (kind is None):
                    raise self.violated("a fragment without a beginning, or a beginning within a fragmented message")
                kind = kind or opcode
                parts.append(payload)
                if final:
                    whole = b"".join(parts)
                    return whole if kind == BINARY else self.text(whole)

    def text(self, payload):
        try:
            return payload.decode()
        except UnicodeDecodeError as error:
            raise self.violated(str(error), 1007) from None

    def closed(self, payload):
        """Answers a close frame (section 5.5.1) and says what was in it."""
        if len(payload) == 1:
            return self.violated("a close frame with one byte")
        self.close()
        code = struct.unpack("!H", payload[:2])[0] if payload else 1005
        return Closed(code, self.text(payload[2:]))

    def violated(self, what, code=1002):
        self.close(code)
        return Broken(what)

    def send(self, opcode, payload, final=True):
        """One frame, masked (section 5.3)."""
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
        """A message, in so many fragments, with a ping between them."""
        payload = text.encode()
        step = max(1, -(-len(payload) // pieces))
        parts = [payload[i:i + step] for i in range(0, len(payload), step)] or [b""]
        with self.message:
            for i, part in enumerate(parts):
                if i:
                    self.send(PING, b"between fragments")
                self.send(CONTINUATION if i else TEXT, part, final=i == len(parts) - 1)

    def close(self, code=1000):
        """Sends a close frame, once."""
        if not self.closing:
            self.closing = True
            try:
                self.send(CLOSE, struct.pack("!H", code))
            except OSError:
                # Whoever is told has gone.
                pass


# ---------------------------------------------------------------- graphql-transport-ws


Item = collections.namedtuple("Item", "at data errors")
End = collections.namedtuple("End", "at kind errors reason")
"""How a subscription ended: `complete`, `error` (with the errors) or `gone` (with its connection, for a reason)."""


class Subscription:
    """What has come for one operation, each with its time by time.monotonic()."""

    def __init__(self, connection, name):
        self.connection, self.name = connection, name
        self.items, self.end = [], None

    def data(self):
        """The data of every item so far: of each its only root field."""
        with self.connection.changed:
            items = list(self.items)
        return [next(iter(item.data.values())) for item in items if item.data]

    def errors(self):
        """Errors within items."""
        with self.connection.changed:
            return [error for item in self.items for error in item.errors]

    def wait(self, enough, seconds, what):
        """Waits until `enough(self)`; an error where that is not so in time, or cannot become so any more."""
        deadline = time.monotonic() + seconds
        with self.connection.changed:
            while not enough(self):
                left = deadline - time.monotonic()
                if self.end or left <= 0:
                    why = f"ended: {self.end}" if self.end else f"not within {seconds} s"
                    raise TimeoutError(f"{what}: {why}, after {len(self.items)} items")
                self.connection.changed.wait(left)
        return self

    def until(self, match, seconds, what):
        """Waits until the data of some item matches; returns it."""
        found = []

        def enough(_):
            found[:] = [data for data in self.data() if match(data)]
            return found

        self.wait(enough, seconds, what)
        return found[0]

    def until_end(self, seconds, what):
        return self.wait(lambda it: it.end, seconds, what).end

    def complete(self):
        """Lets go of it."""
        self.connection.tell({"id": self.name, "type": "complete"})


class Connection:
    """A connection as one account; `subscribe` from any thread, what comes is taken by a thread of its own."""

    def __init__(self, address, key, timeout=10, path="/graphql/ws"):
        self.web = WebSocket(address, path, PROTOCOL, timeout=timeout)
        self.changed = threading.Condition(threading.RLock())
        self.subscriptions, self.pongs, self.gone, self.stray = {}, 0, None, []
        try:
            self.tell({"type": "connection_init", "payload": {"Authorization": f"Bearer {key}"}})
            while (message := json.loads(self.web.receive()))["type"] == "ping":
                self.tell({"type": "pong"})
            if message["type"] != "connection_ack":
                raise Broken(f"{message['type']} instead of connection_ack")
        except BaseException:
            self.web.socket.close()
            raise
        # From here on a thread waits for messages for as long as there are none; what is sent still has its time.
        self.web.socket.settimeout(None)
        self.web.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", timeout, 0))
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def tell(self, message, pieces=1):
        self.web.send_text(json.dumps(message), pieces)

    def subscribe(self, query, pieces=1, **variables):
        """Starts an operation; its message goes out in so many fragments."""
        with self.changed:
            name = str(len(self.subscriptions) + 1)
            subscription = self.subscriptions[name] = Subscription(self, name)
        self.tell({"id": name, "type": "subscribe", "payload": {"query": query, "variables": variables}}, pieces)
        return subscription

    def read(self):
        try:
            while True:
                self.take(json.loads(self.web.receive()), time.monotonic())
        except (Closed, Broken, OSError, ValueError, LookupError) as reason:
            with self.changed:
                self.gone = reason
                for subscription in self.subscriptions.values():
                    subscription.end = subscription.end or End(time.monotonic(), "gone", [], str(reason))
                self.changed.notify_all()

    def take(self, message, now):
        kind = message["type"]
        if kind == "ping":
            self.tell({"type": "pong"})
            return
        with self.changed:
            if kind == "pong":
                self.pongs += 1
            else:
                subscription = self.subscriptions[message["id"]]
                payload = message.get("payload")
                if subscription.end:
                    self.stray.append(message)
                elif kind == "next":
                    subscription.items.append(Item(now, payload.get("data"), payload.get("errors") or []))
                elif kind == "error":
                    subscription.end = End(now, kind, payload, None)
                elif kind == "complete":
                    subscription.end = End(now, kind, [], None)
                else:
                    raise Broken(f"a message of the type {kind!r}")
            self.changed.notify_all()

    def ping(self, seconds=10):
        """Waits for the answer to a ping of the protocol."""
        with self.changed:
            wanted = self.pongs + 1
        self.tell({"type": "ping"})
        with self.changed:
            if not self.changed.wait_for(lambda: self.pongs >= wanted or self.gone, seconds) or self.gone:
                raise TimeoutError(f"no answer to a ping: {self.gone}")

    def cut(self):
        """Cuts the connection off without a word, with a reset. What had come until then stays."""
        self.web.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            # Nothing is sent by this; it wakes the thread that waits.
            self.web.socket.shutdown(socket.SHUT_RD)
        except OSError:
            # The server was first.
            pass
        self.thread.join(10)
        self.web.socket.close()

    def close(self):
        """Closes it as one should."""
        self.web.close()
        self.thread.join(10)
        self.web.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
