"""Figures of all rounds, and the tables that people read."""

import statistics

import proxies

# What the others are compared with.
ONE = "haproxy"
TITLES = {
    "http1": "HTTP/1.1, closed loop",
    "latency": "Latency at a constant rate",
    "http2": "HTTP/2 from clients, HTTP/1.1 to members",
    "tls": "TLS from clients (HTTP/1.1)",
    "race": "The rollback race",
    "memory": "Memory",
}
# What Switchback with a policy is to need at most of what they need, in CPU for a request over HTTP/1.1.
GOALS = {"haproxy": 1.00, "nginx-lua": 0.90, "haproxy-lua": 0.78, "envoy-wasm": 0.26}
OWN = "switchback"
# Above this a core has no more to give; below it something else was the limit.
FULL = 0.93
# Above this part of the proxy's core in foreign hands, figures are those of another machine than the one that is named.
NOISE_MAX = 0.05


class Spread:
    """The middle of all rounds, and how far they were apart."""

    def __init__(self, values):
        self.median, self.low, self.high = statistics.median(values), min(values), max(values)


def spreads(results, name):
    """By proxy, in the order of the tables: the spread of each figure."""
    found = {}
    for peer in proxies.EVERYBODY:
        rounds = [it for it in results["rounds"] if it["table"] == name and it["peer"] == peer]
        if rounds:
            figures = {key for key, value in rounds[0].items() if isinstance(value, (int, float)) and key != "round"}
            found[peer] = {key: Spread([it[key] for it in rounds]) for key in sorted(figures)} | {"rounds": len(rounds)}
    return found


def markdown(results):
    parts = [about(results)]
    for name, title in TITLES.items():
        if any(it["table"] == name for it in results["rounds"]):
            body = latency(results) if name == "latency" else closed(results, name)
            if name == "http1":
                body += goals(results)
        elif name in results["tables"]:
            body = __import__(name).markdown(results["tables"][name])
        elif name in results["failed"]:
            body = f"Failed: {results['failed'][name]}\n"
        else:
            continue
        parts.append(f"### {title}\n\n{body}")
    return "\n".join(parts)


def about(results):
    machine, versions = results["machine"], results["versions"]
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [f"{machine['date']} UTC, {machine['cores']} cores ({machine['model']}), Linux {machine['kernel']}; "
             f"load before: {machine['load_before']}. {said}."]
    for name, reason in results["missing"].items():
        lines.append(f"- missing: {proxies.ALL[name].title}: {reason}")
    return "\n".join(lines) + "\n"


def closed(results, name):
    found = spreads(results, name)
    one = found.get(ONE, {}).get("cpu_micros")
    lines = ["| | requests/s | CPU for a request, us | of it in the kernel | x HAProxy | rounds: CPU, least to most |",
             "|---|---|---|---|---|---|"]
    idle = False
    for peer, figures in found.items():
        cpu = figures["cpu_micros"]
        ratio = f"{cpu.median / one.median:.2f}" if one else "-"
        # It could have served more: then CPU for a request stands, and requests/s is the load's figure.
        mark = "" if figures["proxy_core_busy"].median >= FULL else " *"
        idle |= bool(mark)
        lines.append(f"| {proxies.EVERYBODY[peer].title} | {figures['per_second'].median:,.0f}{mark} | {cpu.median:.1f} | "
                     f"{figures['system_micros'].median:.1f} | {ratio} | {cpu.low:.1f} to {cpu.high:.1f} |")
    lines += others(results, name, 5)
    if idle:
        lines += ["", f"\\* Its core was less than {FULL:.0%} busy: load and members were the limit."]
    return "\n".join(lines + noise(found)) + "\n"


def noise(found):
    often = max(it["foreign"].median for it in found.values())
    once = max(it["foreign"].high for it in found.values())
    if often > NOISE_MAX:
        return ["", f"**Noise: others had up to {often:.0%} of the proxies' core. Do not believe these figures.**"]
    # The middle of the rounds is another one.
    return ["", f"In single rounds others had up to {once:.0%} of the proxies' core."] if once > NOISE_MAX else []


def goals(results):
    """Ratios are taken within each round, where the two were measured within a minute of each other."""
    cpu = {(it["peer"], it["round"]): it["cpu_micros"] for it in results["rounds"] if it["table"] == "http1"}
    turns = sorted(turn for peer, turn in cpu if peer == OWN)
    lines = []
    for peer, goal in GOALS.items():
        ratios = [cpu[OWN, turn] / cpu[peer, turn] for turn in turns if (peer, turn) in cpu]
        if ratios:
            of = Spread(ratios)
            lines.append(f"| {proxies.ALL[peer].title} | {of.median:.2f} | {of.low:.2f} to {of.high:.2f} | {goal:.2f} |")
    if not lines:
        return ""
    head = [f"{proxies.ALL[OWN].title}, CPU for a request over that of:", "", "| | ratio | rounds | goal, at most |",
            "|---|---|---|---|"]
    return "\n" + "\n".join(head + lines) + "\n"


def latency(results):
    lines = ["| | p50, ms | p99, ms | p99.9, ms | longest, ms | rounds: p99, least to most | CPU for a request, us |",
             "|---|---|---|---|---|---|---|"]
    found = spreads(results, "latency")
    for peer, figures in found.items():
        title, p99 = proxies.EVERYBODY[peer].title, figures["p99_micros"]
        # The middle of booleans is one of them, or a half.
        if figures["bears_it"].median < 1:
            lines.append(f"| {title} | does not bear {results['rate']:,} requests/s |" + " |" * 5)
            continue
        cells = [ms(figures[it].median) for it in ("p50_micros", "p99_micros", "p999_micros", "max_micros")]
        cells += [f"{ms(p99.low)} to {ms(p99.high)}", f"{figures['cpu_micros'].median:.1f}"]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += others(results, "latency", 6) + noise(found)
    return f"{results['rate']:,} requests/s.\n\n" + "\n".join(lines) + "\n"


def others(results, name, cells):
    """Those that have no figures, and why."""
    lines = []
    for peer in results["rows"]:
        kind = proxies.ALL[peer]
        reason = results["failed"].get(f"{name} {peer}")
        if reason:
            lines.append(f"| {kind.title} | failed: {' '.join(reason.split())[:200]} |" + " |" * (cells - 1))
        elif name in ("http2", "tls") and name not in kind.speaks and kind.speaks_not and peer not in results["missing"]:
            lines.append(f"| {kind.title} | none: {kind.speaks_not} |" + " |" * (cells - 1))
    return lines


def ms(micros):
    return f"{micros / 1000:.2f}"


def line(it):
    if it["table"] == "latency":
        return (f"latency {it['peer']}: p50 {ms(it['p50_micros'])} p99 {ms(it['p99_micros'])} p99.9 {ms(it['p999_micros'])} "
                f"max {ms(it['max_micros'])} ms, {it['cpu_micros']} us, failed {it['failed']}"
                + ("" if it["bears_it"] else ", does not bear the rate"))
    return (f"{it['table']} {it['peer']}: {it['per_second']}/s, {it['cpu_micros']} us = {it['user_micros']} user + "
            f"{it['system_micros']} system, busy: its core {it['proxy_core_busy']}, the load's {it['load_core_busy']}")
