"""A real OpenSSH server on loopback, with keys and configuration of its own."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from fit50.spec.request import Device

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Sshd:
    """A server that lets its own user in.

    Attributes:
        folder: of its keys; ``bin`` in it holds a client ``ssh`` that has the user's key and knows the server.
        port: on 127.0.0.1.
        process: the server's, which has one more for each connection.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def device(self, python: str | Path = sys.executable, port: int | None = None) -> Device:
        """This machine, reached through the server."""
        where = f"{getpass.getuser()}@127.0.0.1:{port or self.port}"
        return Device(name=f"ssh://{where}?python={quote(str(python))}")

    def cut(self) -> None:
        """Ends all connections, as a network that fails does."""
        for connection in psutil.Process(self.process.pid).children():
            for each in [*connection.children(), connection]:
                if each.name().startswith("sshd"):
                    each.kill()


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """Starts a server, and ends it."""
    assert SSHD is not None
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shutil.copyfile(folder / "user.pub", folder / "authorized_keys")
    host_key = " ".join((folder / "host.pub").read_text(encoding="ascii").split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n", encoding="ascii")
    (folder / "server").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        "AuthenticationMethods publickey\nPermitRootLogin prohibit-password\nStrictModes no\nUsePAM no\nPidFile none\n",
        encoding="ascii",
    )
    client(folder, folder / "user", folder / "known_hosts")
    if os.getuid() == 0:  # which sshd wants an empty folder for
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "server"], stderr=log)
        try:
            _wait(port, process, folder / "log")
            yield Sshd(folder, port, process)
        finally:
            process.terminate()
            process.wait(timeout=10)


def client(folder: Path, key: Path, known_hosts: Path) -> None:
    """Writes ``bin/ssh``: the system's client with this key and these hosts, and nothing of the user's own."""
    config, ssh = folder / "client", folder / "bin" / "ssh"
    config.write_text(
        f"IdentityFile {key}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {known_hosts}\n"
        "GlobalKnownHostsFile none\n",
        encoding="ascii",
    )
    script(ssh, f'exec {shutil.which("ssh")} -F {shlex.quote(str(config))} "$@"')


def script(path: Path, line: str) -> Path:
    """Writes a shell script of one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text(encoding="utf-8"))
