"""What goes wrong, a row each: how it begins, how it ends, and which members it is about.

`begin` and `end` are called at their times, and may take a moment; a list of `(seconds, what)` in `also` is for more.
"""

import signal
from dataclasses import dataclass, field
from typing import Callable

FIRST, SECOND, THIRD, FOURTH = range(4)


@dataclass
class Row:
    name: str
    says: str
    begin: Callable = lambda lab: None
    end: Callable = lambda lab: None
    # Members that are to get no requests while it lasts, and their share again afterwards.
    bad: tuple = (FIRST,)
    method: str = "GET"
    dns: bool = False
    resetter: bool = False
    # Whether they are not there at all, so that they can return also where nobody left them alone.
    is_gone: bool = False
    also: list = field(default_factory=list)


def each(numbers, what):
    def do(lab):
        for number in numbers:
            what(lab.members[number])
    return do


def mode(*modes):
    return {"begin": lambda lab: lab.members[FIRST].set(*modes), "end": lambda lab: lab.members[FIRST].unset(*modes)}


def lost(*numbers):
    return {"begin": each(numbers, lambda member: member.kill()), "end": each(numbers, lambda member: member.start()),
            "bad": numbers, "is_gone": True}


def stopped():
    return {"begin": each([FIRST], lambda member: member.signal(signal.SIGSTOP)),
            "end": each([FIRST], lambda member: member.signal(signal.SIGCONT))}


def resets(on):
    def do(lab):
        lab.resetter.resets = on
    return do


def answers(*numbers):
    def do(lab):
        lab.dns.addresses = [lab.members[number].address for number in numbers]
    return do


def dns_is(mode):
    def do(lab):
        lab.dns.mode = mode
    return do


OLD, NEW = (0, 1, 2, 3), (4, 5, 6, 7)

ROWS = [
    Row("nothing", "nothing happens", bad=()),
    Row("killed", "one of four members gets SIGKILL, and is started again", **lost(FIRST)),
    Row("stopped", "one gets SIGSTOP: the kernel still takes its connections", **stopped()),
    Row("slow", "one answers 0.3 s later, also within all limits", **mode("slow")),
    Row("silent", "one answers after 3 s, three times what it may take; its check is well", **mode("silent")),
    Row("500", "one answers 500, its check too", **mode("500", "check-500")),
    Row("500-check-well", "one answers 500, but its check is well", **mode("500")),
    Row("lies", "one breaks its answers off in the middle; its check is well", **mode("lie")),
    Row("resets", "one keeps no connections, and resets every tenth when the request is there",
        begin=resets(True), end=resets(False), resetter=True),
    Row("half-lost", "two get SIGKILL", **lost(FIRST, SECOND)),
    Row("all-lost", "all four get SIGKILL, and are started again", **lost(*OLD)),
    Row("dns-changes", "DNS has four other addresses; after 3 s the old members are gone",
        begin=answers(*NEW), end=answers(*OLD), bad=OLD, dns=True, is_gone=True,
        also=[(8, each(OLD, lambda member: member.kill())), (11, each(OLD, lambda member: member.start()))]),
    Row("dns-servfail", "DNS answers SERVFAIL", begin=dns_is("servfail"), end=dns_is("good"), bad=(), dns=True),
    Row("dns-silent", "DNS does not answer", begin=dns_is("silent"), end=dns_is("good"), bad=(), dns=True),
    Row("dns-nothing", "DNS says that there is no such name", begin=dns_is("nxdomain"), end=dns_is("good"), bad=(),
        dns=True),
    Row("dns-shrinks", "DNS has two addresses of four; after 3 s the other members are gone",
        begin=answers(FIRST, SECOND), end=answers(*OLD), bad=(THIRD, FOURTH), dns=True, is_gone=True,
        also=[(8, each((THIRD, FOURTH), lambda member: member.kill())),
              (11, each((THIRD, FOURTH), lambda member: member.start()))]),
    Row("post-killed", "as killed, with POST", method="POST", **lost(FIRST)),
    Row("post-stopped", "as stopped, with POST", method="POST", **stopped()),
    Row("post-500", "as 500, with POST", method="POST", **mode("500", "check-500")),
]
