#!/usr/bin/env python3
"""A small Correio client, written from docs/protocol.md alone.

As a program it logs in, sends, reads, joins and watches; as a module it is the class Client. It keeps its
key, its outbox and its marks in one folder (the home), and keeps the two rules that make mail
safe: a send is on disk before its first try, and mail is on disk before its ack.

    correio_client.py --home ana --server data/server.url login ana --topic news
    correio_client.py --home ana send bob news -s hello -b 'Hello, all!'
    correio_client.py --home ana refresh
    correio_client.py --home ana watch

Needs pyzmq with CURVE; its wheels have it.
"""

import argparse
import base64
import itertools
import json
import os
import pathlib
import re
import sys
import time
import urllib.parse

import zmq
from zmq.utils import z85

FRAME_BYTES = 65536
CURVE_BYTES = 33
REPLY_S = 5.0
TEXT = "text/plain; charset=utf-8"


class Refused(Exception):
    """The server answered a request with an error (docs/protocol.md, section 9)."""

    def __init__(self, error):
        super().__init__(f"{error['text']} ({error['code']})")
        self.code, self.retryable = error["code"], error["retryable"]


class Unanswered(Exception):
    """No reply came: the server is down, or it has another key than its address says."""


class Home:
    """What must survive this process: the device's key, the outbox, the marks, the mail."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "mail").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.state = {"server": None, "incarnation": None, "stream": None,
                      "next": 1, "outbox": [], "marks": {}}
        try:
            self.state.update(json.loads((self.folder / "state.json").read_text()))
        except FileNotFoundError:
            pass

    def save(self):
        self._write(self.folder / "state.json", json.dumps(self.state).encode())

    def key(self):
        """Returns the key pair (Z85), made the first time."""
        path = self.folder / "key"
        if not path.exists():
            self._write(path, b"\n".join(zmq.curve_keypair()))
        return path.read_bytes().split(b"\n")

    def put_mail(self, mail, body):
        self._write(self.folder / "mail" / f"{mail['id']}.body", body)
        self._write(self.folder / "mail" / f"{mail['id']}.json", json.dumps(mail).encode())

    def mark_shown(self, chat, peer, seq):
        """Notes that a peer's lines of a chat were shown up to here, for when one comes again as mail."""
        handle = os.open(self.folder / f"chat-{chat}", os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(handle, seq.to_bytes(8, "big") + peer.encode(), 0)
        os.close(handle)

    def has_shown(self, mail):
        """Says whether a mail is a line that was shown in its chat already (section 13)."""
        words = dict(word.strip().split("=", 1) for word in mail["content_type"].split(";")[1:] if "=" in word)
        chat, seq = words.get("chat", ""), words.get("seq", "")
        if not re.fullmatch("[0-9a-f]{32}", chat) or not seq.isdecimal():
            return False
        try:
            mark = (self.folder / f"chat-{chat}").read_bytes()
        except FileNotFoundError:
            return False
        return mark[8:] == mail["from"].encode() and int(seq) <= int.from_bytes(mark[:8], "big")

    def _write(self, path, data):
        """Replaces a file so that a crash leaves the old one or the new one."""
        new = path.with_name(path.name + ".new")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


class Client:
    """One session with a server. Not for several threads."""

    def __init__(self, home, server=None, timeout=30.0):
        self.home = Home(home)
        self.timeout = timeout
        if server is not None:
            self.home.state["server"] = server
        url = urllib.parse.urlsplit(self.home.state["server"])
        query = urllib.parse.parse_qs(url.query)
        self.host, self.port = url.hostname, url.port
        self.server_key = z85.encode(bytes.fromhex(query["key"][0]))
        self.code = query.get("code", [None])[0]
        self.context = zmq.Context.instance()
        self.ids = itertools.count(1)
        self.session = self.requests = self.live = None
        self.lease = self.no_lease = None
        self.want_port = False
        self.known, self.logs = 0, {}

    # -- the two sockets (section 1) --

    def _socket(self, kind, port):
        socket = self.context.socket(kind)
        socket.curve_serverkey = self.server_key
        socket.curve_publickey, socket.curve_secretkey = self.home.key()
        socket.linger = 0
        socket.maxmsgsize = FRAME_BYTES + CURVE_BYTES
        socket.ipv6 = ":" in self.host
        socket.connect(f"tcp://[{self.host}]:{port}" if ":" in self.host
                       else f"tcp://{self.host}:{port}")
        return socket

    # -- requests (sections 2 and 3) --

    def post(self, verb, fields, body=None):
        """Sends one request and returns its id."""
        request_id = next(self.ids).to_bytes(4, "big")
        header = json.dumps({"verb": verb, **fields}).encode()
        frames = [request_id, header] + ([body] if body is not None else [])
        if self.requests is None:
            self.requests = self._socket(zmq.DEALER, self.port)
        self.requests.send_multipart(frames)
        return request_id

    def _reply(self, request_id, timeout=REPLY_S):
        """Waits for the reply to one request; replies to requests given up are dropped."""
        end = time.monotonic() + timeout
        while self.requests.poll(max(0, end - time.monotonic()) * 1000):
            answered, header, *bodies = self.requests.recv_multipart()
            if answered == request_id:
                header = json.loads(header)
                if not header["ok"]:
                    raise Refused(header["error"])
                return header, bodies
        raise Unanswered(f"no answer from {self.host}:{self.port}")

    def ask(self, verb, fields=None, body=None):
        """Makes a request, repeats it while it stays unanswered, and logs in again when needed."""
        end = time.monotonic() + self.timeout
        while True:
            fields = dict(fields or {})
            if "session" in fields:
                fields["session"] = self.session
            try:
                return self._reply(self.post(verb, fields, body))
            except Unanswered:
                if time.monotonic() > end:
                    raise
                self._reconnect(verb)
            except Refused as refused:
                if refused.code != "no_session" or time.monotonic() > end:
                    raise
                self._open()

    def _reconnect(self, verb):
        self.requests.close()
        self.requests = None
        if self.session is not None and verb not in ("hello", "login"):
            self._open()

    # -- who we are --

    def register(self, user, device="python example"):
        self.ask("hello", {"magic": "correio", "versions": [1, 1], "agent": "correio_client.py"})
        fields = {"user": user, "device": device}
        self.ask("register", fields | ({"code": self.code} if self.code else {}))
        self.home.save()

    def login(self, topics=(), want_port=False):
        """Opens a session and settles what the outbox holds from earlier runs."""
        self.want_port = want_port
        self._open(topics)
        self.flush()

    def _open(self, topics=()):
        hello, _ = self.ask("hello", {"magic": "correio", "versions": [1, 1]})
        self.live_port, self.heartbeat_s = hello["live_port"], hello["limits"]["heartbeat_ms"] / 1000
        state = self.home.state
        if state["incarnation"] not in (None, hello["incarnation"]):
            state.update(marks={}, stream=None)
        state["incarnation"] = hello["incarnation"]
        fields = {"topics": list(topics), "want_stream": True,
                  "want_port": self.want_port}
        if state["stream"] is not None:
            fields["stream"] = state["stream"]
        if self.session is not None:
            fields["resume"] = self.session
        login, _ = self.ask("login", fields)
        self.session, self.user = login["session"], login["user"]
        self.lease, self.no_lease = login["lease"], login["no_lease"]
        if not login["stream_present"]:
            self._new_stream(login["stream"])
        self.home.save()
        self._learn(login)
        for refusal in login["refused"]:
            print(f"not joined: {refusal['topic']}: {refusal['text']}", file=sys.stderr)

    def _new_stream(self, stream):
        """Begins a stream; what was tried under the old one is in doubt and is not sent again."""
        for entry in self.home.state["outbox"]:
            print(f"in doubt, not sent again: to {', '.join(entry['to'])}", file=sys.stderr)
        self.home.state.update(stream=stream, next=1, outbox=[])

    def _learn(self, page):
        """Takes in log rows, and asks for those that did not fit."""
        while True:
            for log in page["logs"]:
                self._learn_log(log)
            if page["more_after"] is None:
                return
            page, _ = self.ask("logs", {"session": 0, "after": page["more_after"]})

    def _learn_log(self, log):
        known = self.logs.get(log["log"])
        self.logs[log["log"]] = log
        self.home.state["marks"].setdefault(str(log["log"]), [log["cursor"], log["n"]])
        if self.live is not None and (known is None or known["key"] != log["key"]):
            self.live.subscribe(bytes.fromhex(log["key"]))

    def close(self):
        if self.session is not None:
            self.ask("close", {"session": 0})
        self._close_sockets()

    def hang_up(self, patience=1.0):
        """Closes the session as far as the server hears it in time; else it ends by itself."""
        try:
            self._reply(self.post("close", {"session": self.session}), patience)
        except (Unanswered, Refused):
            pass
        self._close_sockets()

    def _close_sockets(self):
        for socket in (self.requests, self.live):
            if socket is not None:
                socket.close()

    # -- sending exactly once (section 5) --

    def send(self, to, body, subject="", content_type=TEXT):
        """Sends one mail and returns one outcome per recipient."""
        state = self.home.state
        entry = {"number": state["next"], "to": list(to), "subject": subject,
                 "content_type": content_type, "body": base64.b64encode(body).decode()}
        state["next"] += 1
        state["outbox"].append(entry)
        self.home.save()
        return self._settle(entry)

    def flush(self):
        """Tries again what an earlier run left unanswered."""
        for entry in list(self.home.state["outbox"]):
            for outcome in self._settle(entry):
                print(f"settled: {json.dumps(outcome)}", file=sys.stderr)

    def _settle(self, entry):
        state, body = self.home.state, base64.b64decode(entry["body"])
        lowest = min(each["number"] for each in state["outbox"])
        fields = {"session": 0, "stream": state["stream"], "number": entry["number"],
                  "settled_below": lowest, "to": entry["to"], "subject": entry["subject"],
                  "content_type": entry.get("content_type", TEXT)}
        try:
            reply = self._put(fields, body)
        except Refused as refused:
            if not refused.retryable:
                self._forget(entry)
            raise
        outcomes = reply["outcomes"]
        if not all("code" in outcome and outcome["retryable"] for outcome in outcomes):
            self._forget(entry)
        return outcomes

    def _forget(self, entry):
        if entry in self.home.state["outbox"]:
            self.home.state["outbox"].remove(entry)
            self.home.save()

    def _put(self, fields, body):
        if len(body) <= FRAME_BYTES:
            return self.ask("send", fields, body)[0]
        while True:
            try:
                parts = self._upload(fields["stream"], fields["number"], body)
                return self.ask("send", fields | {"parts": parts})[0]
            except Refused as refused:
                if refused.code == "no_session":
                    self._open()
                elif refused.code != "parts_missing":
                    raise

    def _upload(self, stream, number, body):
        """Sends a body in parts, `credit` of them at a time."""
        pieces = [body[at:at + FRAME_BYTES] for at in range(0, len(body), FRAME_BYTES)]
        fields = {"session": self.session, "stream": stream, "number": number}
        reply, _ = self.ask("part", fields | {"index": 0}, pieces[0])
        credit, open_parts = reply["credit"], []
        for index, piece in enumerate(pieces[1:], start=1):
            if len(open_parts) >= credit:
                credit = self._reply(open_parts.pop(0))[0]["credit"]
            fields["session"] = self.session
            open_parts.append(self.post("part", fields | {"index": index}, piece))
        for request_id in open_parts:
            self._reply(request_id)
        return len(pieces)

    # -- receiving (section 6) --

    def refresh(self):
        """Yields (mail, body) of everything new, once it is stored and acknowledged."""
        for number in list(self.logs):
            yield from self._read(number)

    def _read(self, number):
        more = True
        while more:
            after, n = self.home.state["marks"][str(number)]
            page, bodies = self.ask("fetch", {"session": 0, "log": number, "after": after, "n": n})
            if page["trimmed"]:
                print(f"{page['trimmed']['count']} mails of {page['address']} expired unread",
                      file=sys.stderr)
            bodies, mails = iter(bodies), []
            for mail in page["mails"]:
                body = next(bodies) if mail["frames"] else self._body(number, mail)
                if mail["id"] > after:
                    self.home.put_mail(mail, body)
                    mails.append((mail, body))
            self._take(number, page["through"], page["n"])
            yield from mails
            more = page["more"]

    def _body(self, number, mail):
        """Reads a body that did not come with its envelope, piece by piece."""
        body = b""
        while len(body) < mail["size"]:
            fields = {"session": 0, "log": number, "id": mail["id"], "offset": len(body)}
            body += self.ask("body", fields)[1][0]
        return body

    def _take(self, number, mark, n):
        """Moves a log's mark, on disk, and only then acknowledges."""
        self.home.state["marks"][str(number)] = [mark, n]
        self.home.save()
        self.ask("ack", {"session": 0, "logs": [[number, mark]]})

    def join(self, topic, start="now"):
        reply, _ = self.ask("join", {"session": 0, "topic": topic, "from": start})
        self._learn(reply)

    # -- live (section 7) --

    def watch(self):
        """Yields (mail, body) as they come; reads first what came before."""
        self.listen()
        yield from self.refresh()
        beat = 0.0
        while True:
            if self.live.poll(max(0.0, beat - time.monotonic()) * 1000):
                yield from self._notice(*self.live.recv_multipart())
            if time.monotonic() >= beat:
                yield from self._heartbeat()
                beat = time.monotonic() + self.heartbeat_s

    def listen(self):
        """Subscribes to the logs' notices."""
        self.live = self._socket(zmq.SUB, self.live_port)
        own = [log for log in self.logs.values() if log["kind"] == "user"]
        for log in own + [log for log in self.logs.values() if log["kind"] != "user"]:
            self.live.subscribe(bytes.fromhex(log["key"]))
        self._wait_granted(set(self.logs))

    def _wait_granted(self, wanted):
        """Waits for the server's word on each subscription, one second at most."""
        end = time.monotonic() + 1
        while wanted and self.live.poll(max(0, end - time.monotonic()) * 1000):
            notice = json.loads(self.live.recv_multipart()[1])
            wanted.discard(notice["log"] if notice["kind"] == "granted" else None)

    def _notice(self, _key, header, *bodies):
        notice = json.loads(header)
        if notice["kind"] == "log" and str(notice["info"]["log"]) not in self.home.state["marks"]:
            yield from self._heartbeat()  # the notice is one for all devices: ask for the row of this one
        elif notice["kind"] == "log":
            self._learn_log(notice["info"])
            yield from self._read(notice["info"]["log"])
        elif notice["kind"] == "mail":
            number = notice["log"]
            mark, _ = self.home.state["marks"][str(number)]
            whole = notice["frames"] == len(bodies) and (bodies or notice["size"] == 0)
            if notice["id"] <= mark:
                return
            if notice["prev"] > mark or not whole:
                yield from self._read(number)
                return
            body = bodies[0] if bodies else b""
            self.home.put_mail(notice, body)
            self._take(number, notice["id"], notice["n"])
            yield notice, body

    def _heartbeat(self):
        more = True
        while more:
            reply, _ = self.ask("heartbeat", {"session": 0, "known": self.known})
            for log in reply["behind"]:
                self._learn_log(log)
                if log["head"] > self.home.state["marks"][str(log["log"])][0]:
                    yield from self._read(log["log"])
            self.known, more = reply["through"], reply["more"]


def show(mail, body):
    """Prints one mail as a line of JSON: nothing in it can act on a terminal."""
    names = ("id", "address", "from", "to", "subject", "sent_at", "content_type")
    line = {"kind": "mail"} | {name: mail[name] for name in names}
    try:
        line["body"] = body.decode()
    except UnicodeDecodeError:
        line["body_base64"] = base64.b64encode(body).decode()
    print(json.dumps(line), flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="A small Correio client.")
    parser.add_argument("--home", default="correio-python", help="folder of the key and the mail")
    parser.add_argument("--server", help="address or server.url file, needed at the first login")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for answers")
    verbs = parser.add_subparsers(dest="verb", required=True)
    login = verbs.add_parser("login", help="make the user, or go on as that user")
    login.add_argument("user")
    login.add_argument("--topic", action="append", default=[])
    send = verbs.add_parser("send", help="send a mail to users and topics")
    send.add_argument("to", nargs="+")
    send.add_argument("-s", "--subject", default="")
    body = send.add_mutually_exclusive_group(required=True)
    body.add_argument("-b", "--body", type=str.encode)
    body.add_argument("-f", "--file", type=lambda path: pathlib.Path(path).read_bytes())
    verbs.add_parser("refresh", help="show what is new")
    join = verbs.add_parser("join", help="join a topic, or a prefix such as lab/*")
    join.add_argument("topic")
    join.add_argument("--start", action="store_true", help="with all that is kept")
    watch = verbs.add_parser("watch", help="show mail as it comes")
    watch.add_argument("--count", type=int, help="stop after so many")
    return parser.parse_args()


def server_url(text):
    if text and not text.startswith("correio://"):
        text = pathlib.Path(text).read_text()
    return text.strip() if text else None


def run(args):
    client = Client(args.home, server_url(args.server), args.timeout)
    if args.verb == "login":
        client.register(args.user)
    client.login(getattr(args, "topic", []) if args.verb == "login" else [])
    if args.verb == "send":
        body = args.body if args.body is not None else args.file
        for outcome in client.send(args.to, body, args.subject):
            print(json.dumps(outcome))
    elif args.verb == "join":
        client.join(args.topic, "start" if args.start else "now")
    elif args.verb == "refresh":
        for mail, body in client.refresh():
            if not client.home.has_shown(mail):
                show(mail, body)
    elif args.verb == "watch":
        print("watching", file=sys.stderr, flush=True)
        new = (each for each in client.watch() if not client.home.has_shown(each[0]))
        for mail, body in itertools.islice(new, args.count):
            show(mail, body)
    client.close()


if __name__ == "__main__":
    try:
        run(arguments())
    except Refused as refused:
        sys.exit(f"refused: {refused}")
    except (Unanswered, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
