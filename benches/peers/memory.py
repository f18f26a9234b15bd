#!/usr/bin/env python3
"""Memory: of an idle connection that is kept, of one more policy in use, and of a version kept to go back to.

Each figure is the slope between two counts, so what a proxy takes once is in none of them. Memory is the proportional set
size of all processes of a proxy: it is to be measured while nobody else runs the same programs, or what they share is
halved. What the kernel holds for a socket is not in it, and is the same for all.
"""

import argparse
import json
import os
import resource
import socket
import sys
import time
from urllib.parse import quote

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import install  # noqa: E402
import many  # noqa: E402
import proxies  # noqa: E402
import racers  # noqa: E402
from lab import Lab  # noqa: E402
from load import heads  # noqa: E402

# Of connections, and of policies and versions.
CONNECTIONS = (2_000, 8_000)
POLICIES = (10, 100)
# Opened and closed before: code that is run for the first time, and heaps that begin.
WARM_UP = 500


def rows(lab, names=None, connections=CONNECTIONS, policies=POLICIES):
    """A result for each proxy; of `names` only if given."""
    names, results = names or getattr(lab, "rows", None), []
    connections = as_many_as_may_be(connections)
    for name, kind in proxies.ALL.items():
        if names and name not in names:
            continue
        result = {"peer": name, "title": kind.title}
        if why_not := lab.tools.why_not(kind.needs):
            results.append(result | {"why_not": why_not})
            continue
        for what, measure, counts in (("connection", of_connection, connections), ("policy", of_policy, policies),
                                      ("version", of_version, policies)):
            try:
                result |= {what: measure(lab, name, counts)}
            except Exception as error:
                # It is named in the table, and the others go on.
                result |= {what: {"why_not": " ".join(str(error).split())[:300]}}
        results.append(result)
        print(f"memory {json.dumps(result)}", flush=True)
    return results


def as_many_as_may_be(counts):
    """With the file descriptors that there are: a proxy may want three for a client's connection."""
    few, more = counts
    limit = max(4 * more, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    except (ValueError, OSError):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    most = min(more, limit // 4)
    return few * most // more, most


def of_connection(lab, name, counts):
    """Idle, kept, and used once."""
    peer, opened = proxies.ALL[name](lab), []
    peer.start()
    try:
        at_start = settled(peer)
        open_more(peer, opened, WARM_UP)
        close(opened)
        weighed = [settled(peer)]
        for count in counts:
            open_more(peer, opened, count)
            weighed.append(settled(peer))
        closed = sum(not is_open(stream) for stream in opened)
        if closed:
            raise RuntimeError(f"{closed} of {len(opened)} connections were closed meanwhile")
        close(opened)
        return slope(counts, weighed[1:]) | {"at_start": at_start, "before": weighed[0], "after": settled(peer)}
    finally:
        close(opened)
        peer.stop()


def of_policy(lab, name, counts):
    """Of as many hosts as there are policies; each has decided."""
    if name not in many.ALL:
        return None
    weighed = []
    for count in counts:
        peer = many.ALL[name](lab, count)
        peer.start()
        try:
            peer.prepare()
            peer.ask_all()
            weighed.append(settled(peer))
        finally:
            peer.stop()
    return slope(counts, weighed) | {"one_more": peer.one_more}


def of_version(lab, name, counts):
    """Of those that have the notion: made, and then not in use."""
    if name not in KEEPERS:
        return None
    peer, keep = KEEPERS[name][0](lab), KEEPERS[name][1]
    peer.start()
    try:
        peer.prepare()
        weighed, kept = [], 0
        for count in counts:
            for number in range(kept, count):
                keep(peer, number)
            kept = count
            weighed.append(settled(peer))
        return slope(counts, weighed) | {"one_more": KEEPERS[name][2]}
    finally:
        peer.stop()


def keep_settings(peer, number):
    with open(peer.lab.tools["policy"], "rb") as file:
        build = file.read()
    settings = peer.POLICY | {"values": {"green": "green", f"green-{number}": "green"}}
    peer.call("PUT", f"/v1/policies/shop?config={quote(json.dumps(settings))}", build)


def keep_pool(peer, number):
    peer.call("PUT", "/v1/vips/shop", json.dumps({"pool": ("blue", "green")[number % 2]}).encode())


def keep_vcl(peer, number):
    peer.tell(f"vcl.load kept-{number} {peer.folder}/green.vcl")


# By proxy: how it is started, how one more is made, and what that is.
KEEPERS = {
    "switchback": (racers.Switchback, keep_settings, "a release, by other settings of its policy"),
    "switchback-pool": (racers.SwitchbackPool, keep_pool, "a release, by another pool of its vip"),
    "varnish": (racers.VarnishUse, keep_vcl, "a VCL that is loaded"),
}


def slope(counts, weighed):
    (few, more), (light, heavy) = counts, weighed
    return {"counts": list(counts), "bytes": weighed, "each": (heavy - light) / (more - few)}


def settled(peer, limit=10):
    """Once it changes no more, or hardly."""
    deadline, last = time.monotonic() + limit, peer.resident_bytes()
    while True:
        time.sleep(0.25)
        now = peer.resident_bytes()
        if abs(now - last) <= now // 1000 or time.monotonic() > deadline:
            return now
        last = now


def open_more(peer, opened, count):
    """Up to so many; a request on each."""
    requests = [head.encode() for head in heads()]
    while len(opened) < count:
        stream = socket.create_connection(peer.address, timeout=10)
        opened.append(stream)
        stream.sendall(requests[len(opened) % len(requests)])
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"\n"):
            piece = stream.recv(65536)
            if not piece:
                raise RuntimeError(f"connection {len(opened)} was closed: {answer!r}")
            answer += piece
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"connection {len(opened)} was answered by {answer!r}")


def is_open(stream):
    stream.setblocking(False)
    try:
        return bool(stream.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


def close(opened):
    while opened:
        opened.pop().close()


def markdown(results):
    there = [it for it in results if "why_not" not in it]
    lines = ["| | at the start, MB | idle connection, KB | one more policy in use, KB | which is | a version kept, KB | which is |",
             "|---|---|---|---|---|---|---|"]
    for it in there:
        connection, policy, version = it["connection"], it["policy"], it["version"]
        start = f"{connection['at_start'] / 1e6:.1f}" if "at_start" in connection else "-"
        lines.append(f"| {it['title']} | {start} | {kilobytes(connection)} | {kilobytes(policy)} | {which(policy)} | "
                     f"{kilobytes(version)} | {which(version)} |")
    counts = next((it["connection"]["counts"] for it in there if "counts" in it["connection"]), CONNECTIONS)
    kept = next((it["policy"]["counts"] for it in there if it["policy"] and "counts" in it["policy"]), POLICIES)
    lines += ["", "Proportional set size of all processes, 1 KB = 1,000 bytes. nginx, HAProxy and Varnish set memory for "
                  "connections or threads aside at the start. Slopes: from {:,} to {:,} connections on each of which "
                  "one request was answered, from {} to {} policies or versions. The kernel's memory for sockets is not in "
                  "it.".format(*counts, *kept)]
    lines += [""]
    for it in results:
        lines += [f"- {it['title']}: not measured: {it['why_not']}."] if "why_not" in it else []
        lines += [f"- {it['title']}, {what}: {it[what]['why_not']}." for what in ("connection", "policy", "version")
                  if it.get(what) and "why_not" in it[what]]
    return "\n".join(lines).rstrip() + "\n"


def kilobytes(figure):
    return f"{figure['each'] / 1e3:.1f}" if figure and "each" in figure else "-"


def which(figure):
    return (figure or {}).get("one_more", "-")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", help="Switchback's program; built if not given")
    parser.add_argument("--tool", action="append", default=[], metavar="NAME=PATH", help="another program or file")
    parser.add_argument("--rows", help="only these, with commas between: " + ", ".join(proxies.ALL))
    parser.add_argument("--connections", type=int, nargs=2, default=CONNECTIONS)
    parser.add_argument("--policies", type=int, nargs=2, default=POLICIES)
    parser.add_argument("--work", default=os.path.join(install.ROOT, "target", "peers"), help="what is installed, configurations and logs")
    arguments = parser.parse_args()
    names = arguments.rows.split(",") if arguments.rows else None
    tools = install.install(arguments.work, arguments.binary, arguments.tool)
    with Lab(os.path.join(arguments.work, "runs"), tools) as lab:
        print(markdown(rows(lab, names, arguments.connections, arguments.policies)))


if __name__ == "__main__":
    main()
