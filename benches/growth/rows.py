"""What grows: for each row how many, the configuration with so many, and what is asked for."""

import dataclasses
import json
from typing import Callable

from lab import address

# For rows that differ from another in one thing only.
FEW = (1, 100, 10000)

# A release has two pools that vips can be switched between.
TWO_POOLS = f'[pools.blue]\nmembers = ["{address(0)}"]\n[pools.green]\nmembers = ["{address(0)}"]\n'


@dataclasses.dataclass
class Row:
    name: str
    what: str
    # Of a number and the port: the configuration.
    config: Callable
    sizes: tuple = (1, 10, 100, 1000, 10000)
    # Which of `hosts`, `paths` and `keys` there are so many of, in the requests.
    asks: str = ""
    # Of a number: what the policies of the folder are called.
    policies: Callable = None
    # Whether each request may need a connection to another member.
    connects: bool = False
    # How many times as many requests there must be until each was asked.
    covers: float = 1.2
    # Whether so many releases are made before anything is measured.
    keeps: bool = False
    # Whether a switch is measured.
    switches: bool = True
    # The vip and the pools that it is switched between.
    switch: tuple = ("v0", "green", "blue")
    why: str = ""


def vip(port, name="v0", decider='pool = "blue"', more=""):
    return f'[vips.{name}]\nlisten = "127.0.0.1:{port}"\n{decider}\n{more}'


def vips_by_host(many, port):
    return "".join(vip(port, f"v{n}", more=f'hosts = ["v{n}.test"]\n') for n in range(many)) + TWO_POOLS


def vips_by_path(many, port):
    return "".join(vip(port, f"v{n}", more=f'paths = ["/p{n}"]\n') for n in range(many)) + TWO_POOLS


def sessions(many, port):
    more = 'session = {{ mode = "drain-sticky", limit = "1s" }}\nhosts = ["v{}.test"]\n'
    return "".join(vip(port, f"v{n}", more=more.format(n)) for n in range(many)) + TWO_POOLS


def pools(many, port):
    # A vip for each, as there is no other way to it. One member for all, or there would be as many of these.
    text = TWO_POOLS
    for n in range(many):
        text += vip(port, f"v{n}", f'pool = "p{n}"', f'hosts = ["v{n}.test"]\n')
        # Of no two the same content: pools that are alike are not one, but compare as fast as they differ.
        text += f'[pools.p{n}]\nmembers = ["{address(0)}"]\nconnect_timeout = "{1000 + n}ms"\n'
    return text


def members(more=""):
    def config(many, port):
        listed = json.dumps([address(n) for n in range(many)])
        # Connections are kept for as long as a round of all of them takes, however slow the machine is.
        keep = '[pools.{}.keep_alive]\nidle_timeout = "10m"\n'
        pool = "[pools.{}]\nmembers = " + listed + "\n" + more
        both = "".join(pool.format(name) + keep.format(name) for name in ("blue", "green"))
        return vip(port) + both

    return config


def releases(many, port):
    return vip(port) + TWO_POOLS


def policies(many, port):
    text = TWO_POOLS
    for n in range(many):
        text += vip(port, f"v{n}", f'policy = "p{n}"', f'hosts = ["v{n}.test"]\nfallback = "green"\n')
        rules = f'[{{ header = "x-no-{n}", value = "1", pool = "green" }}, {{ cookie = "uid", value = "{n}", pool = "green" }}]'
        text += f'[policies.p{n}]\nconfig = {{ rules = {rules}, otherwise = "blue" }}\n'
    return text


def names(many):
    return [f"p{n}" for n in range(many)]


ROWS = [
    Row("vips-host", "vips, by host", vips_by_host, asks="hosts",
        why="`Router::find` looks the listener and the host up in hash tables, whatever is in them"),
    Row("vips-path", "vips, by path prefix under all hosts", vips_by_path, asks="paths",
        why="`Paths::find` looks up one prefix for each `/` of the path, no longer than the longest that there is"),
    Row("vips-session", "vips that drain sessions, by host", sessions, sizes=(1, 100, 1000, 10000), asks="hosts",
        why="as vips by host; a session is a pointer in the vip"),
    Row("pools", "pools, a vip by host for each", pools, asks="hosts", switch=("v0", "green", "p0"),
        why="the vip holds its pool, and the pool its roster: pointers"),
    Row("members", "members of one pool, in turn", members(), connects=True,
        why="`Turns::at` takes the next place of a round that was made ahead"),
    Row("members-load", "members of one pool, the less busy of two", members('balance = "least-requests"\n'), sizes=FEW,
        connects=True, covers=8, switches=False, why="`Turns::two` searches the sums of weights by halves, twice"),
    Row("members-key", "members of one pool, by key", members('key = "header:x-key"\n'), sizes=FEW, asks="keys",
        connects=True, switches=False, why="a key's hash is a place in the maglev table, of one of two sizes"),
    Row("releases", "releases made, of which 200 and the trail are kept", releases, sizes=(1, 10, 100, 1000), keeps=True,
        why="a request pins the current one; no other is looked at"),
    Row("policies", "policies, one build under so many names, a vip by host for each", policies, asks="hosts",
        sizes=(1, 10, 100, 500), policies=names,
        why="`Instances::slot` finds the policy's instance among those of the worker"),
]
