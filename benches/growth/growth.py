"""What a request, memory and a switch cost, against how many there are of something."""

import os
import statistics
import time

import lab
from shape import exponent, shape

PORT = 18500
SWITCHES, STEPS = 16, 8
SHORT_MAX = 100


def measure(row, arguments, folder, wasm):
    """All sizes of a row, in rounds that take turns: what the machine does meanwhile, it does to all of them."""
    sizes = [size for size in row.sizes if size <= SHORT_MAX] if arguments.short else row.sizes
    hosts, figures = {}, {size: {"of": size} for size in sizes}
    wrk = lab.Wrk(folder)
    try:
        for size in sizes:
            hosts[size] = start(row, size, arguments, folder, wasm, PORT + 2 * len(hosts))
            take_in(row, size, hosts[size], figures[size])
            # It takes no time from those that are measured.
            hosts[size].stop()
        rounds = {size: [] for size in (*sizes, "one")}
        for turn in range(arguments.rounds):
            # Where each request goes to the same member, a few connections are all that a pause costs.
            warm = turn == 0 or row.connects
            for size in sizes:
                rounds[size].append(asked(row, hosts[size], wrk, arguments.seconds, size, warm))
            if row.asks:
                # As many are there, and one is asked for: what is left of the growth is not the cache's.
                rounds["one"].append(asked(row, hosts[sizes[-1]], wrk, arguments.seconds, 1, warm))
        for size in sizes:
            figures[size] |= request_figures(rounds[size])
        if rounds["one"]:
            figures[sizes[-1]]["only_one_asked"] = request_figures(rounds["one"])
        for size in sizes:
            hosts[size].go_on()
            figures[size]["own_after"] = hosts[size].calm()
            if row.switches:
                figures[size] |= switch_figures(row, hosts[size])
            hosts[size].end()
    finally:
        for host in hosts.values():
            if host.process.poll() is None:
                host.go_on()
                host.end()
    return {"row": row.name, "what": row.what, "why": row.why, "sizes": list(figures.values())} | shapes(list(figures.values()))


def start(row, size, arguments, folder, wasm, port):
    policies = {name: wasm for name in row.policies(size)} if row.policies else None
    return lab.Host(arguments.binary, folder, f"{row.name}-{size}", port, row.config(size, port), policies=policies)


def take_in(row, size, host, figures):
    figures["started_in_seconds"] = host.started_in
    if row.keeps:
        assign = [host.call("PUT", "/v1/vips/v0", {"pool": row.switch[1 + turn % 2]}) for turn in range(size)]
        figures["made_in_milliseconds"] = statistics.median(took for _, took in assign)
        figures["journal_bytes"] = journal_bytes(host)
    host.calm()
    figures |= host.memory()


def asked(row, host, wrk, seconds, size, warm=True, cores=None):
    """One round. Where it is to be `warm`, everything is asked for once before: connections, instances and caches are there."""
    many = {row.asks: size} if row.asks else {}
    host.go_on()
    warmed, needed = 0, row.covers * size if row.connects or row.asks else 1
    while warm and warmed < needed:
        warmed += wrk.run(host.port, 1, cores=cores, **many)["requests"]
    before, began = host.cpu_nanos(), time.monotonic()
    done = wrk.run(host.port, seconds, cores=cores, **many)
    after, took = host.cpu_nanos(), time.monotonic() - began
    host.stop()
    of_workers, of_others = (after[0] - before[0]) / 1e3, (after[1] - before[1]) / 1e3
    return done | {"cpu_micros": of_workers / max(1, done["requests"]), "beside_percent": of_others / took / 1e4}


def request_figures(rounds):
    cpu = sorted(it["cpu_micros"] for it in rounds)
    return {
        "cpu_micros": statistics.median(cpu), "cpu_micros_least": cpu[0], "cpu_micros_most": cpu[-1],
        "beside_percent": statistics.median(it["beside_percent"] for it in rounds),
        "per_second": statistics.median(it["per_second"] for it in rounds),
        "p50_micros": statistics.median(it["p50_micros"] for it in rounds),
        "p99_micros": statistics.median(it["p99_micros"] for it in rounds),
        "failed": sum(it["failed"] for it in rounds), "requests": sum(it["requests"] for it in rounds),
    }


def switch_figures(row, host):
    """Another pool for a vip, each time a new release; and steps along the trail, as far as releases are kept ready."""
    vip, other, usual = row.switch
    if row.policies:
        host.call("PUT", f"/v1/vips/{vip}", {"pool": usual})
    before = host.calm()
    cpu, held = sum(host.cpu_nanos()), []
    assigned, grown = [], []
    for turn in range(SWITCHES):
        assigned.append(paced(host, "PUT", f"/v1/vips/{vip}", {"pool": (other, usual)[turn % 2]}))
        held.append(assigned[-1][1])
        if turn + 1 in (2, STEPS):
            grown.append(host.calm())
    cpu = sum(host.cpu_nanos()) - cpu
    steps = [paced(host, "POST", f"/v1/{step}") for step in ("back", "forward") for _ in range(STEPS)]
    return {
        "switch": answers(assigned), "back": answers(steps[:STEPS]), "forward": answers(steps[STEPS:]),
        "switch_cpu_milliseconds": cpu / SWITCHES / 1e6,
        # The first ones find room that others left.
        "release_bytes": max(0, grown[1] - grown[0]) / (STEPS - 2),
        "switches_bytes": host.calm() - before,
    }


def paced(host, method, path, body=None):
    """One after another, with time between for what a switch leaves to be done after it."""
    answer, took = host.call(method, path, body)
    time.sleep(min(1, max(0.02, took / 1000)))
    return answer, took


def answers(calls):
    switched = sorted(answer["switched_in_micros"] for answer, _ in calls)
    took = sorted(took for _, took in calls)
    return {
        "switched_micros": statistics.median(switched), "switched_micros_most": switched[-1],
        "call_milliseconds": statistics.median(took), "call_milliseconds_most": took[-1],
    }


def shapes(figures):
    sizes = [it["of"] for it in figures]
    noise = statistics.median((it["cpu_micros_most"] - it["cpu_micros_least"]) / it["cpu_micros"] / 2 for it in figures)
    found = {"request_shape": shape(sizes, [it["cpu_micros"] for it in figures], noise), "noise": noise,
             "memory_shape": shape(sizes, [it["own"] for it in figures])}
    if "switch" in figures[0]:
        # Times of single calls are noisier than means over 100,000 requests.
        for name, pick in (("call", "call_milliseconds"), ("switched", "switched_micros")):
            taken = [max(it["switch"][pick], 1e-3) for it in figures]
            found[f"{name}_shape"] = shape(sizes, taken, noise=0.15)
            found[f"{name}_exponent"] = exponent(sizes, taken)
    return found


def journal_bytes(host):
    state = os.path.join(host.folder, "state")
    return sum(os.path.getsize(os.path.join(state, name)) for name in os.listdir(state) if name.startswith("journal.db"))
