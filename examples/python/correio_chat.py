#!/usr/bin/env python3
"""Direct chat for correio_client.py, written from docs/protocol.md alone (section 13 and the chat verbs).

As a program it asks a user for a chat, or accepts one; lines in on stdin, one JSON object a line out on
stdout. As a module it is the class Link: one chat's two sockets and two rows, without a server.

    correio_chat.py --home ana chat bob
    correio_chat.py --home bob accept ana

Only needs what correio_client.py needs.
"""

import argparse
import datetime
import json
import os
import sys
import time

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from correio_client import CURVE_BYTES, FRAME_BYTES, Client, Refused, Unanswered

MAGIC, VERSION = "correio-chat", 1
LINE_BYTES, WINDOW = 32 * 1024, 1024
BEAT_S, LOST_S, MEET_S, HELLO_S = 2.0, 10.0, 8.0, 1.0
ASK_AGAIN_S, LEAVE_STILL_S, LEAVE_S = 0.5, 2.0, 4.0
FINGERPRINT = b"correio-chat-fingerprint-1"


def number(value):
    return value.to_bytes(8, "big")


def read_number(data):
    if len(data) < 8:
        raise ValueError("too short")
    return int.from_bytes(data[:8], "big"), data[8:]


# -- fingerprint words (section 13) --

BLAKE3_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
BLAKE3_ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
BLAKE3_MIX = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
              (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def blake3_block(chain, block, size, flags):
    """BLAKE3's compression of one block; Python has no BLAKE3 of its own."""
    words = [int.from_bytes(block[at:at + 4], "little") for at in range(0, 64, 4)]
    state = [*chain, *BLAKE3_IV[:4], 0, 0, size, flags]

    def mix(a, b, c, d, word, left, right):
        state[a] = (state[a] + state[b] + word) & 0xFFFFFFFF
        turned = state[d] ^ state[a]
        state[d] = (turned >> left | turned << 32 - left) & 0xFFFFFFFF
        state[c] = (state[c] + state[d]) & 0xFFFFFFFF
        turned = state[b] ^ state[c]
        state[b] = (turned >> right | turned << 32 - right) & 0xFFFFFFFF

    for _ in range(7):
        for at, places in enumerate(BLAKE3_MIX):
            mix(*places, words[2 * at], 16, 12)
            mix(*places, words[2 * at + 1], 8, 7)
        words = [words[at] for at in BLAKE3_ORDER]
    return [state[at] ^ state[at + 8] for at in range(8)]


def blake3(data):
    """BLAKE3 of at most 1,024 bytes (one chunk): 32 bytes."""
    chain, blocks = BLAKE3_IV, [data[at:at + 64] for at in range(0, len(data), 64)] or [b""]
    for at, block in enumerate(blocks):
        flags = (at == 0) | (0b1010 if at == len(blocks) - 1 else 0)
        chain = blake3_block(chain, block.ljust(64, b"\0"), len(block), flags)
    return b"".join(word.to_bytes(4, "little") for word in chain)


def proquint(pair):
    """Two bytes as a word that can be said aloud (arXiv:0901.4016)."""
    value = int.from_bytes(pair, "big")
    consonant, vowel = "bdfghjklmnprstvz", "aiou"
    return (consonant[value >> 12] + vowel[value >> 10 & 3] + consonant[value >> 6 & 15]
            + vowel[value >> 4 & 3] + consonant[value & 15])


def fingerprint(one, other):
    digest = blake3(FINGERPRINT + b"".join(sorted((one, other))))
    return "-".join(proquint(digest[at:at + 2]) for at in range(0, 10, 2))


class Link:
    """One chat: PULL on the own leased port, PUSH to the other side, a row of lines each way.

    Poll `sockets()`, then call `step()`: it yields what happened as (kind, ...) and never waits.
    Ended when `end` is set: "bye", "lost" or "unreachable".
    """

    def __init__(self, key_pair, port, epoch, server_host):
        self.public, self.secret = key_pair
        self.key = z85.decode(self.public)
        self.port, self.epoch, self.server_host = port, epoch, server_host
        self.chat, self.allowed, self.host = None, set(), None
        self.peer = None                    # {"key", "host", "port", "epoch"}
        self.asker = False
        self.met = self.open = False        # met: a hello of the other side is here
        self.row, self.acked, self.sent, self.last = {}, 0, 0, 0
        self.received = self.shown_to = self.acked_to = 0
        self.left = self.end = None         # left: the seq of the own bye
        self.peer_left, self.left_at, self.moved = False, 0.0, 0.0
        self.up, self.heard, self.began = False, None, None
        self.beat = self.hello_at = self.resend_at = 0.0
        self.context = zmq.Context()
        self._bind()

    # -- sockets --

    def _bind(self):
        """The ZAP handler first: without one libzmq lets everybody in."""
        self.zap = self.context.socket(zmq.REP)
        self.zap.bind("inproc://zeromq.zap.01")
        self.pull = self.context.socket(zmq.PULL)
        self.pull.curve_server = True
        self.pull.curve_publickey, self.pull.curve_secretkey = self.public, self.secret
        self.pull.zap_domain = b"chat"
        self.pull.maxmsgsize = FRAME_BYTES + CURVE_BYTES
        self.pull.linger = 0
        self.push = self.monitor = None
        try:
            self.pull.ipv6 = True
            self.pull.bind(f"tcp://*:{self.port}")
        except zmq.ZMQError:
            self.pull.ipv6 = False
            self.pull.bind(f"tcp://*:{self.port}")

    def _connect(self, peer):
        """Connects to the other side, which must prove its key; libzmq goes on trying by itself."""
        self.peer = peer
        host = peer["host"] or self.server_host
        self.push = self.context.socket(zmq.PUSH)
        self.push.curve_serverkey = z85.encode(peer["key"])
        self.push.curve_publickey, self.push.curve_secretkey = self.public, self.secret
        self.push.immediate, self.push.linger = True, 500
        self.push.reconnect_ivl, self.push.reconnect_ivl_max = 100, 1000
        self.push.ipv6 = True
        self.monitor = self.push.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self.push.connect(f"tcp://[{host}]:{peer['port']}" if ":" in host else f"tcp://{host}:{peer['port']}")

    def sockets(self):
        return [each for each in (self.zap, self.pull, self.monitor) if each is not None]

    def close(self):
        if self.push is not None:
            self.push.disable_monitor()
        for each in (self.monitor, self.push, self.pull, self.zap):
            if each is not None:
                each.close()
        self.context.term()

    # -- what the user does --

    def ask(self, chat, keys):
        """Waits for the first of these keys that comes with the chat's id."""
        self.chat, self.allowed, self.asker = chat, set(keys), True

    def expect(self):
        """Somebody has accepted: he must be here soon."""
        self.began = self.began or time.monotonic()

    def accept(self, chat, peer, own_host):
        self.chat, self.allowed, self.host = chat, {peer["key"]}, own_host
        self.began = time.monotonic()
        self._connect(peer)

    def room(self):
        return self.left is None and self.last - self.acked < WINDOW

    def say(self, text):
        data = text.encode()
        if len(data) > LINE_BYTES:
            raise ValueError("a line over its limit")
        return self._add(b"L", data)

    def leave(self):
        """Says bye, after everything said before."""
        if self.left is None:
            self.left = self._note({"note": "bye"})
            self.left_at = self.moved = time.monotonic()

    def shown(self, seq):
        """Everything up to here was shown: it may be acknowledged."""
        self.shown_to = max(self.shown_to, seq)

    def undelivered(self):
        """The lines that the other side has not acknowledged: (seq, text)."""
        return [(seq, data.decode()) for seq, (kind, data) in self.row.items() if kind == b"L"]

    def _note(self, note):
        return self._add(b"N", json.dumps(note).encode())

    def _add(self, kind, data):
        self.last += 1
        self.row[self.last] = (kind, data)
        return self.last

    # -- what happens --

    def step(self):
        now = time.monotonic()
        self._answer_zap()
        self._watch_link()
        for _ in range(1000):
            try:
                frame = self.pull.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            try:
                yield from self._take_message(bytes.fromhex(frame.get("User-Id")), frame.bytes, now)
            except (ValueError, KeyError, TypeError, UnicodeDecodeError):
                pass  # not a frame of this protocol: passed over
        yield from self._look_at_clock(now)
        self._flush(now)

    def _answer_zap(self):
        while self.zap.poll(0):
            version, request, _domain, _address, _identity, mechanism, key, *_ = self.zap.recv_multipart()
            known = mechanism == b"CURVE" and key in self.allowed
            verdict = [b"200", b"", key.hex().encode()] if known else [b"400", b"not invited", b""]
            self.zap.send_multipart([version, request, *verdict, b""])

    def _watch_link(self):
        while self.monitor is not None and self.monitor.poll(0):
            event = recv_monitor_message(self.monitor)["event"]
            self.up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self.hello_at = 0.0              # a new connection begins with a hello
            self.sent = self.acked           # and with what may have been lost with the old one

    def _take_message(self, key, data, now):
        if data[:1] != b"B":
            yield from self._take(key, data, now)
            return
        rest = data[9:]
        while rest:                          # a bundle: several frames in one message
            end = 4 + int.from_bytes(rest[:4], "big")
            yield from self._take(key, rest[4:end], now)
            rest = rest[end:]

    def _take(self, key, data, now):
        epoch, rest = read_number(data[1:])
        if epoch != self.epoch or self.chat is None or self.end:
            return                           # meant for another chat on this port
        if data[:1] == b"H":
            yield from self._take_hello(key, rest, now)
        elif self.peer is not None and key == self.peer["key"] and self.met:
            self.heard = now
            yield from self._opened()        # only who has this side's hello sends anything else
            yield from self._take_frame(data[:1], rest, now)

    def _take_hello(self, key, rest, now):
        hello = json.loads(rest[16:])
        if rest[:16] != self.chat or hello["magic"] != MAGIC or hello["version"] < 1:
            return
        if self.peer is None and self.asker:  # the first one wins
            self.began = now
            self._connect({"key": key, "host": hello.get("host"), "port": hello["port"], "epoch": hello["epoch"]})
        if self.peer is None or key != self.peer["key"]:
            return
        self.heard, first = now, not self.met
        self.met = True
        if hello.get("through", 0) < self.sent:
            self.sent = max(self.acked, hello.get("through", 0))
        if first or not hello.get("met"):
            self.hello_at = 0.0
        if hello.get("met"):
            yield from self._opened()

    def _opened(self):
        if not self.open:
            self.open = True
            yield ("open",)

    def _take_frame(self, kind, rest, now):
        seq, rest = read_number(rest)
        if kind in (b"L", b"N"):
            if seq > self.received + 1:
                self._missing(now)
            elif seq == self.received + 1:
                self.received, self.moved = seq, now
                yield from self._take_row(kind, seq, rest)
            else:
                self.acked_to = -1           # seen before: the ack was lost
        elif kind == b"A":
            last, _ = read_number(rest)
            if last > self.received:
                self._missing(now)
            yield from self._take_ack(min(seq, self.last), now)
        elif kind == b"R" and self.acked < seq <= self.sent:
            self.sent = seq - 1

    def _take_row(self, kind, seq, rest):
        if kind == b"L":
            yield ("line", seq, rest.decode())
            return
        note = json.loads(rest)
        self.shown(seq)
        if note["note"] == "bye":
            self.peer_left = True
            self.leave()
        elif note["note"] == "offer":
            self._note({"note": "refuse", "file": seq, "reason": "this program takes no files"})

    def _take_ack(self, through, now):
        if through > self.acked:
            self.moved = now
            for seq in range(self.acked + 1, through + 1):
                self.row.pop(seq, None)
            self.acked, self.sent = through, max(self.sent, through)
            yield ("delivered", through)

    def _missing(self, now):
        if now >= self.resend_at:
            self.resend_at = now + ASK_AGAIN_S
            self._send(b"R", number(self.received + 1))

    def _look_at_clock(self, now):
        if self.peer_left and self.acked >= self.left and self.shown_to == self.acked_to:
            yield from self._finish("bye")
        elif self.open and self.left and now > min(self.moved + LEAVE_STILL_S, self.left_at + LEAVE_S):
            yield from self._finish("lost" if self.undelivered() else "bye")
        elif self.open and now > self.heard + LOST_S:
            yield from self._finish("lost")
        elif self.began and not self.open and now > self.began + MEET_S:
            yield from self._finish("unreachable")

    def _finish(self, kind):
        if self.end is None:
            self.end = kind
            yield (kind,)

    # -- what goes out --

    def _flush(self, now):
        if not self.up or self.end:
            return
        if now >= self.hello_at and self._hello():
            self.hello_at = float("inf") if self.met else now + HELLO_S
        if not self.open:
            return
        while self.sent < min(self.last, self.acked + WINDOW):
            kind, data = self.row[self.sent + 1]
            if not self._send(kind, number(self.sent + 1) + data):
                break
            self.sent += 1
        if self.shown_to != self.acked_to or now >= self.beat:
            if self._send(b"A", number(self.shown_to) + number(self.sent)):
                self.acked_to, self.beat = self.shown_to, now + BEAT_S

    def _hello(self):
        hello = {"magic": MAGIC, "version": VERSION, "epoch": self.epoch, "port": self.port,
                 "through": self.received, "met": self.met}
        if self.host is not None:
            hello["host"] = self.host
        return self._send(b"H", self.chat + json.dumps(hello).encode())

    def _send(self, kind, rest):
        """Sends a frame for the receiver's epoch; false when the queue is full: try again later."""
        try:
            self.push.send(kind + number(self.peer["epoch"]) + rest, zmq.NOBLOCK)
            return True
        except zmq.Again:
            return False


class Talker:
    """A chat of this program's user: the server introduces, stdin is said, stdout shows."""

    def __init__(self, client):
        self.client = client
        self.chat = self.peer = self.link = self.beat_id = None
        self.beat_at, self.typed, self.eof = 0.0, b"", False
        self.kept = {}

    def take_port(self):
        """Binds the leased port and says so; a port that is busy here is given back for another."""
        lease = self.client.lease
        while lease is not None:
            word = {"session": 0, "port": lease["port"], "epoch": lease["epoch"]}
            try:
                self.link = Link(self.client.home.key(), lease["port"], lease["epoch"], self.client.host)
            except zmq.ZMQError:
                lease = self.client.ask("lease_busy", word)[0]["lease"]
                continue
            self.client.ask("lease_confirm", word)
            return
        sys.exit(f"no port: {self.client.no_lease['text']}")

    def ask(self, user):
        self.take_port()
        asked, _ = self.client.ask("chat_ask", {"session": 0, "user": user})
        self.chat, self.peer = asked["row"]["chat"], user
        if asked.get("introduction"):
            self.meet(asked["introduction"])
            return
        self.link.ask(bytes.fromhex(self.chat), [bytes.fromhex(each["key"]) for each in asked["devices"]])
        self.show("waiting", expires_at=asked["row"]["expires_at"])

    def accept(self, user):
        rows = self.client.ask("chats", {"session": 0})[0]["chats"]
        rows = [row for row in rows if row["state"] == "open" and row["to"] == self.client.user
                and user in (None, row["from"])]
        if not rows:
            print("nobody asks for a chat", file=sys.stderr)
            sys.exit(67)
        self.take_port()
        reply, _ = self.client.ask("chat_accept", {"session": 0, "chat": rows[0]["chat"]})
        self.meet(reply)

    def meet(self, introduction):
        self.chat, self.peer = introduction["chat"], introduction["user"]
        peer = {name: introduction[name] for name in ("host", "port", "epoch")}
        peer["key"] = bytes.fromhex(introduction["key"])
        self.link.accept(bytes.fromhex(self.chat), peer, introduction["own_host"])

    def run(self):
        """Talks until the end; returns the exit code."""
        self.client.listen()
        code = None
        while code is None:
            code = self.turn()
        self.end()
        return code

    def turn(self):
        poller = zmq.Poller()
        for socket in (*self.link.sockets(), self.client.requests, self.client.live):
            poller.register(socket, zmq.POLLIN)
        if not self.eof and self.link.room():
            poller.register(0, zmq.POLLIN)
        ready = dict(poller.poll(100))
        if 0 in ready:
            self.read_stdin()
        self.talk_to_server(ready)
        for event in self.link.step():
            code = self.handle(*event)
            if code is not None:
                return code
        return None if self.link.open or self.link.met else self.answer(ready)

    def handle(self, kind, *rest):
        if kind == "open":
            self.show("open", fingerprint=fingerprint(self.link.key, self.link.peer["key"]))
        elif kind == "line":
            self.show("line", seq=rest[0], text=rest[1])
            self.client.home.mark_shown(self.chat, self.peer, rest[0])
            self.link.shown(rest[0])
        elif kind == "delivered":
            self.show("delivered", seq=rest[0])
        elif kind == "bye":
            self.show("bye")
            return 0
        elif kind in ("lost", "unreachable"):
            self.show("lost", **({"reason": kind} if kind == "unreachable" else {}))
            return 69
        return None

    def read_stdin(self):
        data = os.read(0, 1 << 16)
        *lines, self.typed = (self.typed + data).split(b"\n")
        if not data and self.typed:
            lines.append(self.typed)
        for line in lines:
            self.link.say(line.decode())
        if not data:
            self.eof = True
            self.link.leave()

    # -- the server, which the chat does without once both sides have met --

    def talk_to_server(self, ready):
        """Keeps session and lease alive without ever waiting for an answer."""
        if self.client.requests in ready:
            while self.client.requests.poll(0):
                _id, header, *_ = self.client.requests.recv_multipart()
                self.kept = json.loads(header)
        if time.monotonic() >= self.beat_at:
            self.beat_at = time.monotonic() + self.client.heartbeat_s
            self.client.post("heartbeat", {"session": self.client.session, "known": 0})

    def answer(self, ready):
        """Says how an invitation ended that nobody accepted."""
        rows, self.kept = self.kept.get("chats", []), {}
        if self.client.live in ready:
            notice = json.loads(self.client.live.recv_multipart()[1])
            rows = rows + ([notice["invitation"]] if notice["kind"] == "chat" else [])
        for row in rows:
            if row["chat"] == self.chat and row["state"] == "accepted":
                self.link.expect()
            elif row["chat"] == self.chat and row["state"] != "open":
                return self.refused(row["state"])
        return None

    def refused(self, state):
        if state in ("declined", "busy"):
            self.show("declined", **({"reason": state} if state == "busy" else {}))
        else:
            self.show("expired", **({"reason": state} if state == "withdrawn" else {}))
        return 77 if state == "declined" else 75

    def end(self):
        """Mails what was not delivered, and gives the port back; the server may be gone."""
        self.link.close()
        for seq, text in self.link.undelivered():
            kind = f"text/plain; charset=utf-8; chat={self.chat}; seq={seq}"
            self.client.send([self.peer], text.encode(), content_type=kind)
        self.client.hang_up()

    def show(self, kind, **fields):
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        line = {"v": 1, "kind": kind, "chat": self.chat, "peer": self.peer, **fields,
                "at": now.replace("+00:00", "Z")}
        print(json.dumps(line), flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="Direct chat with a Correio user.")
    parser.add_argument("--home", default="correio-python", help="folder of correio_client.py's key and mail")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("chat", help="ask for a chat").add_argument("user")
    verbs.add_parser("accept", help="accept the oldest invitation").add_argument("user", nargs="?")
    return parser.parse_args()


def run(args):
    client = Client(args.home)
    client.login(want_port=True)
    talker = Talker(client)
    if args.verb == "chat":
        talker.ask(args.user)
    else:
        talker.accept(args.user)
    return talker.run()


if __name__ == "__main__":
    try:
        sys.exit(run(arguments()))
    except Refused as refused:
        sys.exit(f"refused: {refused}")
    except (Unanswered, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
