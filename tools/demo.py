#!/usr/bin/env python3
"""Plays the main job on mail that nobody here wrote, and says what happened: demo.py BIN

The RFC 5322 test messages that ship with CPython (broken ones, odd charsets and attachments included) go, each
as a body, to a user and to a topic. Half way the server is killed with SIGKILL while a send is under way. It is
started again, both readers refresh, and what they got is compared byte for byte. Ends with 1 if anything is
lost, doubled, out of order or changed.
"""

import base64
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

SEARCHED = """
import pathlib, test.test_email
print(pathlib.Path(test.test_email.__file__).parent / "data")
"""


def test_mail():
    """Returns the folder of CPython's test messages: this Python's, or the system's."""
    for python in (sys.executable, "/usr/bin/python3", "python3"):
        try:
            found = subprocess.run([python, "-c", SEARCHED], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return pathlib.Path(found.stdout.strip())
    sys.exit("no CPython test messages here; Debian and Ubuntu: apt-get install libpython3.11-testsuite, by its version")


class Demo:
    def __init__(self, programs, folder):
        self.programs, self.folder, self.server = programs, folder, None
        self.data = folder / "data"

    def start(self):
        """Starts the server and waits for the line that says it is ready."""
        command = [self.programs / "mailserver", "run", "--data-dir", self.data,
                   "--bind", "tcp://127.0.0.1:0", "--live-bind", "tcp://127.0.0.1:0"]
        self.log = open(self.folder / "server.log", "ab")
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.server.stdout.readline().strip()
        if not line:
            sys.exit(f"the server did not start:\n{(self.folder / 'server.log').read_text()}")
        print(f"  {line}")

    def kill(self):
        self.server.kill()
        self.server.wait()

    def command(self, user, *args):
        return [self.programs / "mailctl", "--server", self.data / "server.url",
                "--home", self.folder / user, "--no-input", *args]

    def ctl(self, user, *args):
        """Runs mailctl as a user and returns its lines of JSON."""
        done = subprocess.run(self.command(user, "--json", *args), capture_output=True)
        if done.returncode != 0:
            sys.exit(f"mailctl {shlex.join(map(str, args))}: exit {done.returncode}\n{done.stderr.decode()}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def send(self, file):
        return self.ctl("ana", "send", "@bob", "@news", "-s", file.name, "-f", file)

    def send_and_kill(self, file):
        """Begins a send and kills the server; whether it was answered is chance."""
        command = self.command("ana", "--timeout", "2", "send", "@bob", "@news",
                               "-s", file.name, "-f", file)
        sending = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while sending.poll() is None and not self.is_in_outbox(file.name):
            pass
        self.kill()
        _, errors = sending.communicate()
        return sending.returncode, errors.strip()

    def is_in_outbox(self, subject):
        """Says whether ana's mailctl has written a send down, which it does before the first try."""
        for entry in (self.folder / "ana").rglob("*"):
            try:
                if subject.encode() in entry.read_bytes():
                    return True
            except OSError:
                continue
        return False

    def bodies(self, user):
        """Refreshes and returns (subject, bytes) of each mail, in the order it was shown."""
        mails = [line for line in self.ctl(user, "refresh") if line["kind"] == "mail"]
        return [(mail["subject"], body(mail)) for mail in mails]


def body(mail):
    if "body" in mail:
        return mail["body"].encode()
    return base64.b64decode(mail["body_base64"])


def compare(user, got, sent):
    wanted = [(file.name, file.read_bytes()) for file in sent]
    lost = [name for name, _ in wanted if name not in dict(got)]
    changed = [name for name, data in got if dict(wanted).get(name) != data]
    doubled = len(got) - len(dict(got))
    in_order = [name for name, _ in got] == [name for name, _ in wanted]
    total = sum(len(data) for _, data in got)
    print(f"  {user}: {len(got)} of {len(wanted)} mails, {total} bytes; {len(lost)} lost, {doubled} doubled, "
          f"{len(changed)} changed, {'in order' if in_order else 'OUT OF ORDER'}")
    return got == wanted


def run(programs, folder):
    files = sorted(test_mail().glob("msg_*.txt"))
    half = len(files) // 2
    demo = Demo(programs, folder)
    print(f"{len(files)} real messages, {sum(f.stat().st_size for f in files)} bytes, from {files[0].parent}")
    print("Start a server:")
    demo.start()
    try:
        print("ana, bob and carol log in; carol joins the topic news.")
        demo.ctl("ana", "login", "ana", "--topic", "news")
        demo.ctl("bob", "login", "bob")
        demo.ctl("carol", "login", "carol", "--topic", "news")
        print(f"ana sends {half} of them, each to @bob and @news.")
        for file in files[:half]:
            demo.send(file)
        print(f"ana sends {files[half].name}; the server is killed (SIGKILL) meanwhile.")
        code, errors = demo.send_and_kill(files[half])
        print(f"  mailctl ended with {code}: {errors or 'it was answered just before'}")
        print("The same server again:")
        demo.start()
        if code == 69:
            print("  It was never tried, so it waits as a draft: mailctl outbox retry")
            demo.ctl("ana", "outbox", "retry")
        print(f"ana sends the other {len(files) - half - 1}; what is in doubt settles by itself first.")
        for file in files[half + 1:]:
            demo.send(file)
        print("Both readers refresh:")
        good = [compare(user, demo.bodies(user), files) for user in ("bob", "carol")]
        again = [len(demo.bodies(user)) for user in ("bob", "carol")]
        print(f"They refresh again: {again[0]} and {again[1]} new mails.")
    finally:
        demo.kill()
    if all(good) and again == [0, 0]:
        print("All there, each once, in order, byte for byte.")
        return 0
    print("FAILED: see above.")
    return 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="correio-demo-") as scratch:
        sys.exit(run(pathlib.Path(os.path.abspath(sys.argv[1])), pathlib.Path(scratch)))
