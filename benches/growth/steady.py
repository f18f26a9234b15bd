"""Whether memory stays: a million requests and a thousand switches at once, and what is resident after each tenth."""

import collections
import threading
import time

import lab
import rows
from memory import with_section
from shape import fit

PORT = 18900
SAMPLES = 10
# First, without requests: what is kept has a bound, and is there by then. 1,000 events, 200 entries, receipts and releases, SQLite's
# two megabytes of pages; and a hundred places of instances that wasmtime keeps warm, each with what a build has left there.
FILLS = 1_200
# Builds that come in turn: more than are kept ready, so that each is loaded anew when it comes again.
BUILDS = 20
# Until then memory may rise: so many requests at once never were before.
WARM_UP = 3
# What the rest of the samples may rise by, whichever is more. 700 switches that kept a kilobyte each would be seen.
RISE_MAX_PERCENT, RISE_MAX_BYTES = 2.0, 512 * 1024

VIPS = 10


def config(port):
    """Vips with policies and with pools."""
    text = rows.TWO_POOLS
    for n in range(VIPS):
        decider = f'policy = "p{n % 2}"\nfallback = "blue"' if n % 2 else 'pool = "blue"'
        text += rows.vip(port, f"v{n}", decider, f'hosts = ["v{n}.test"]\n')
    rules = '[{ header = "x-group", value = "beta", pool = "green" }, { cookie = "uid", value = "beta", pool = "green" }]'
    return text + f'[policies.p1]\nconfig = {{ rules = {rules}, otherwise = "blue" }}\n'


class Switching(threading.Thread):
    """So many switches of all kinds, spread over some seconds."""

    def __init__(self, host, first, number, seconds, wasm):
        super().__init__()
        self.host, self.turns, self.pause, self.wasm = host, range(first, first + number), seconds / number, wasm
        self.done, self.troubles = 0, []

    def run(self):
        due = time.monotonic()
        for turn in self.turns:
            due += self.pause
            time.sleep(max(0, due - time.monotonic()))
            try:
                switch(self.host, turn, self.wasm)
                self.done += 1
            except (RuntimeError, OSError) as error:
                self.troubles.append(str(error))


def switch(host, turn, wasm, build_every=50):
    """The next of them: assignments, steps, pools that never were before, and builds of a policy."""
    kind = turn % 5
    if kind == 0:
        host.call("PUT", "/v1/vips/v0", {"pool": ("blue", "green")[turn // 5 % 2]})
    elif kind == 1:
        host.call("PUT", f"/v1/pools/green/members/{rows.address(0)}", {"weight": 1 + turn % 1000})
    elif kind == 2:
        host.call("POST", "/v1/back")
    elif kind == 3:
        host.call("POST", "/v1/forward")
    elif wasm and turn % build_every == 4:
        host.upload("p1", with_section(wasm, f"{turn // build_every % BUILDS}"))
    else:
        host.call("PUT", "/v1/vips/v2", {"pool": ("green", "blue")[turn // 5 % 2]})


def measure(arguments, folder, wasm):
    fills, requests, switches, seconds = (50, 50_000, 100, 1) if arguments.short else (FILLS, 1_000_000, 1_000, 4)
    policies = {"p1": wasm} if wasm else {}
    host = lab.Host(arguments.binary, folder, "steady", PORT, config(PORT) if wasm else rows.vips_by_host(VIPS, PORT), policies=policies)
    wrk, samples, troubles = lab.Wrk(folder), [], []
    asked = switched = failed = 0
    how = collections.Counter()
    try:
        for turn in range(fills):
            switch(host, turn, wasm, build_every=10)
        for number in range(1, SAMPLES + 1):
            switching = Switching(host, switched, switches * number // SAMPLES - switched, seconds, wasm)
            switching.start()
            while asked < requests * number // SAMPLES or switching.is_alive():
                done = wrk.run(PORT, 1, hosts=VIPS)
                asked, failed = asked + done["requests"], failed + done["failed"]
                how.update(done["failed_how"])
            switching.join()
            switched, troubles = switches * number // SAMPLES, troubles + switching.troubles
            samples.append({"requests": asked, "switches": switched} | host.memory())
    finally:
        host.end()
    return {"samples": samples, "failed": failed, "failed_how": how, "troubles": troubles} | verdict(samples, is_full=not arguments.short)


def verdict(samples, is_full):
    """What is resident may not rise once everything that is kept is there; before that, nothing can be said."""
    later = samples[WARM_UP:]
    thousands = [it["switches"] / 1000 for it in later]
    start, step = fit(thousands, [it["own"] for it in later])
    rise = step * (thousands[-1] - thousands[0])
    most = max(RISE_MAX_BYTES, later[0]["own"] * RISE_MAX_PERCENT / 100)
    return {"slope_bytes_per_switch": step / 1000, "slope_bytes_per_thousand_requests":
            fit([it["requests"] / 1000 for it in later], [it["own"] for it in later])[1],
            "rise_bytes": rise, "rise_bytes_max": most, "flat": rise <= most if is_full else None}
