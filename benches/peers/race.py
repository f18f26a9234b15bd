#!/usr/bin/env python3
"""The rollback race: how long after the command a request still sets out that is decided the old way.

2,000 requests a second in an open loop on 64 connections that are kept, from `switchback-race`, which gives the command
too: no client program's start is in any figure. Each proxy is switched by the best means it has (racers.py).
"""

import argparse
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import install  # noqa: E402
import racers  # noqa: E402
from lab import LOAD_CORE, PROXY_CORE, Lab, on_core  # noqa: E402
from load import core_busy  # noqa: E402
from table import NOISE_MAX  # noqa: E402

CONNECTIONS, RATE = 64, 2_000
# Longer than any of the peers needs, but for one that never does.
SWITCHES, PAUSE_MS, CALM_MS = 30, 500, 5_000


def rows(lab, names=None, switches=SWITCHES):
    """A result for each racer, or why there is none; of `names` only if given, which are racers' or proxies'."""
    names, results = names or getattr(lab, "rows", None), []
    for name, kind in racers.ALL.items():
        if names and not any(getattr(of, "name", None) in names for of in kind.__mro__):
            continue
        why_not = lab.tools.why_not(("race", *kind.needs))
        try:
            results.append({"why_not": why_not} if why_not else run(kind(lab), switches))
        except Exception as error:
            # It is named in the table, and the others go on.
            results.append({"why_not": " ".join(str(error).split())[:300]})
        results[-1] |= {"racer": name, "title": kind.title, "switched_by": kind.switched_by}
        print(f"race {json.dumps(results[-1])}", flush=True)
    return results


def run(racer, switches):
    racer.start()
    try:
        racer.prepare()
        racer.check()
        command = [racer.lab.tools["race"], "--peer", "{}:{}".format(*racer.address), "--json",
                   "--connections", str(CONNECTIONS), "--rate", str(RATE), "--switches", str(switches),
                   "--pause-ms", str(PAUSE_MS), "--calm-ms", str(CALM_MS)]
        for pool in ("green", "blue"):
            lines = "".join(f"{line}\n" for line in racer.means(pool))
            command += [f"--{pool}", racer.write(f"{pool}-means", lines)]
        began, busy, cpu = time.monotonic(), core_busy()[PROXY_CORE], sum(racer.cpu_seconds())
        limit = (CALM_MS + switches * PAUSE_MS) / 1000 + 60
        done = subprocess.run(on_core(LOAD_CORE, command), capture_output=True, text=True, timeout=limit)
        if done.returncode:
            raise RuntimeError(f"the race with {racer.name} broke off: {done.stderr.strip()}")
        wall = time.monotonic() - began
        foreign = core_busy()[PROXY_CORE] - busy - (sum(racer.cpu_seconds()) - cpu)
        said = {"first_error": done.stderr.strip()} if done.stderr else {}
        # What part of the proxy's core was somebody else's.
        return json.loads(done.stdout) | said | {"foreign": round(max(0, foreign / wall), 3)}
    finally:
        racer.stop()


def markdown(results):
    there = [it for it in results if "race" in it]
    lines = ["| | switched by | last request decided the old way, ms: median | longest | requests failed | "
             "kept connections closed | p99 before, ms | p99 while switching, ms |", "|---|---|---|---|---|---|---|---|"]
    lines += [f"| {it['title']} | {it['switched_by']} | {old_way(it, 'p50_ms')} | {old_way(it, 'max_ms')} | {it['errors']} | "
              f"{it['closed']} | {it['calm']['p99_ms']:.2f} | {it['busy']['p99_ms']:.2f} |" for it in there]
    if there:
        lines += ["", f"{RATE:,} requests/s on {CONNECTIONS} kept connections, {there[0]['switches']} switches, "
                      f"{PAUSE_MS} ms from one to the next. A request sets out every {1000 / RATE:.1f} ms: that is how fine "
                      "the time is. 0.00: none set out that was decided the old way."]
    foreign = max((it["foreign"] for it in there), default=0)
    if foreign > NOISE_MAX:
        lines += ["", f"**Noise: others had up to {foreign:.0%} of the proxies' core. Do not believe these figures.**"]
    lines += [""]
    lines += [f"- {it['title']}: {it['unfinished']} of {it['switches']} switches were not over when the next came."
              for it in there if it["unfinished"]]
    lines += [f"- {it['title']}: after {it['missed']} of {it['switches']} switches no request at all was decided the new way."
              for it in there if it["missed"]]
    lines += [f"- {it['title']}: not measured: {it['why_not']}." for it in results if "why_not" in it]
    return "\n".join(lines).rstrip() + "\n"


def old_way(result, which):
    """What was still going on at the next switch has no end that could be measured."""
    part = result["unfinished"] / result["switches"]
    if part > (0.5 if which == "p50_ms" else 0):
        return f"over {PAUSE_MS}"
    return f"{result['race'][which]:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", help="Switchback's program; built if not given")
    parser.add_argument("--tool", action="append", default=[], metavar="NAME=PATH", help="another program or file")
    parser.add_argument("--rows", help="only these, with commas between: " + ", ".join(racers.ALL))
    parser.add_argument("--switches", type=int, default=SWITCHES)
    parser.add_argument("--work", default=os.path.join(install.ROOT, "target", "peers"), help="what is installed, configurations and logs")
    arguments = parser.parse_args()
    names = arguments.rows.split(",") if arguments.rows else None
    tools = install.install(arguments.work, arguments.binary, arguments.tool)
    with Lab(os.path.join(arguments.work, "runs"), tools) as lab:
        print(markdown(rows(lab, names, arguments.switches)))


if __name__ == "__main__":
    main()
