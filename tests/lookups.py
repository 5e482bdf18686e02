"""A watch on the network: which hosts the processes of a command look up, connect to or send to.

Python's own calls are seen by an audit hook, that of every Python process which is started meanwhile too. Where there
is a C compiler, the calls of C libraries are seen as well (TensorFlow, OpenVINO, Ray): by functions of the same names
that stand before those of the system's library and call them.
"""

import ipaddress
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HOOK = """
import os, sys
LOG, EVENTS = os.environ["WATCHED_LOOKUPS"], ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")

def watch(event, arguments):
    host = None
    if event in EVENTS:
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    if host:
        with open(LOG, "a") as log:
            log.write(f"{event} {host if isinstance(host, str) else bytes(host).decode()}\\n")

sys.addaudithook(watch)
"""

SHIM = """
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void note(const char *call, const char *host) {
  const char *file = getenv("WATCHED_LOOKUPS");
  int log = file && host && *host ? open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (log >= 0) { dprintf(log, "%s %s\\n", call, host); close(log); }
}

static void note_address(const char *call, const struct sockaddr *address) {
  char text[INET6_ADDRSTRLEN];
  if (address && address->sa_family == AF_INET)
    note(call, inet_ntop(AF_INET, &((struct sockaddr_in *)address)->sin_addr, text, sizeof text));
  if (address && address->sa_family == AF_INET6)
    note(call, inet_ntop(AF_INET6, &((struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text));
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
  note("getaddrinfo", node);
  return REAL(getaddrinfo)(node, service, hints, result);
}

struct hostent *gethostbyname(const char *name) {
  note("gethostbyname", name);
  return REAL(gethostbyname)(name);
}

int connect(int socket, const struct sockaddr *address, socklen_t size) {
  note_address("connect", address);
  return REAL(connect)(socket, address, size);
}

ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
  note_address("sendto", address);
  return REAL(sendto)(socket, data, size, flags, address, length);
}
"""

# One process for several verbs, so that TensorFlow is loaded once. What they print is for the report of a failure.
RUN_VERBS = """
import json, os, sys
from painters_mtl.__main__ import main
for words in json.loads(sys.argv[1]):
    with open(os.environ["WATCHED_LOOKUPS"], "a") as log:
        log.write(f"verb {words[0]}\\n")
    print(f"--- {' '.join(words)}\\nstatus {main(words)}", flush=True)
"""


def compile_shim(folder: Path) -> Path | None:
    """The library that sees the calls of C libraries; None where it cannot be made."""
    compiler, library = shutil.which("cc"), folder / "lookups.so"
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    source = folder / "lookups.c"
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, capture_output=True)
    return library


def watch_environment(folder: Path) -> dict[str, str]:
    """The environment of a process that is watched; what it calls is written to a file in `folder`, see `calls`."""
    folder.mkdir(parents=True)
    log = folder / "lookups.txt"
    log.touch()
    (folder / "sitecustomize.py").write_text(HOOK)
    shim = compile_shim(folder)
    preload = {"LD_PRELOAD": str(shim)} if shim else {}
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
    return {**os.environ, "PYTHONPATH": path, "WATCHED_LOOKUPS": str(log), **preload}


def calls(folder: Path) -> list[str]:
    """A line for each call that named a host, such as "connect 127.0.0.1"."""
    return (folder / "lookups.txt").read_text().splitlines()


def calls_of_others(folder: Path) -> list[str]:
    """Those that named another host than this machine."""
    return [line for line in calls(folder) if not is_this_machine(line.partition(" ")[2])]


def run_verbs(commands: list[list[object]], folder: Path, **environment: str) -> tuple[str, dict[str, list[str]]]:
    """Run verbs one after the other; what they printed, and for each the calls that name another host than this one."""
    text = json.dumps([[str(word) for word in command] for command in commands])
    words = [sys.executable, "-c", RUN_VERBS, text]
    done = subprocess.run(words, capture_output=True, text=True, env={**watch_environment(folder), **environment})
    of_verb: dict[str, list[str]] = {}
    verb = ""
    for line in calls(folder):
        kind, _, host = line.partition(" ")
        if kind == "verb":
            verb = host
            of_verb.setdefault(verb, [])
        elif not is_this_machine(host) and line not in of_verb[verb]:
            of_verb[verb].append(line)
    return done.stdout + done.stderr, of_verb


def is_this_machine(host: str) -> bool:
    """Whether it is a name or an address of loopback."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    address = getattr(address, "ipv4_mapped", None) or address  # ::ffff:127.0.0.1
    return address.is_loopback or address.is_unspecified
