"""Figures of one run, and the table of all."""

import collections

import wire
from rows import OLD, ROWS


def measure(row, proxy, requests, attempts, start, times, rate):
    begin, ending, end, seconds = times
    with open(requests) as file:
        lines = [line.rstrip("\n").split("\t") for line in file if not line.startswith("#")]
    # Due and latency in seconds, status, member, what went wrong.
    exchanges = [(int(due) / 1e6, int(latency) / 1e6, int(status), member, fault, int(stale))
                 for due, latency, status, member, fault, stale in lines]
    failed = [it for it in exchanges if it[4] != "ok"]
    during = sorted(it[1] for it in exchanges if begin <= it[0] < end)
    calm = sorted(it[1] for it in exchanges if 1 <= it[0] < begin)
    usual = rate / len(OLD)
    bad = [f"127.0.0.{11 + number}" for number in row.bad]
    seen = {member: [when - start for when in times] for member, times in attempts.items()}
    ejects = [wire.last_share(seen.get(member, []), begin, ending, usual) for member in bad]
    returns = [wire.first_share(seen.get(member, []), end, seconds, usual) for member in bad]
    whats = collections.Counter(it[4] if it[4] != "status" else str(it[2]) for it in failed)
    return {
        "row": row.name, "proxy": proxy, "requests": len(exchanges), "failed": len(failed),
        "failed_how": dict(whats),
        "failed_first": round(failed[0][0] - begin, 3) if failed else None,
        "failed_last": round(failed[-1][0] - begin, 3) if failed else None,
        "failed_after_end": sum(it[0] >= end for it in failed),
        "last_failed_after_end": round(max(it[0] for it in failed) - end, 3) if failed and failed[-1][0] >= end else 0,
        "stale": sum(it[5] for it in exchanges),
        "eject_seconds": None if not bad or None in ejects else round(max(ejects), 3),
        "return_seconds": None if not bad or None in returns else round(max(returns), 3),
        "p50_ms": ms(during, 0.5), "p99_ms": ms(during, 0.99), "max_ms": ms(during, 1),
        "calm_p50_ms": ms(calm, 0.5), "calm_p99_ms": ms(calm, 0.99),
        "slow_over_100ms": sum(it[1] > 0.1 for it in exchanges),
        "attempts_to_bad": sum(begin <= when < ending for member in bad for when in seen.get(member, [])),
        "attempts": sum(map(len, seen.values())),
    }


def ms(latencies, part):
    if not latencies:
        return None
    return round(latencies[min(len(latencies) - 1, int(part * len(latencies)))] * 1000, 2)


def line(result):
    shown = ("row", "proxy", "failed", "failed_how", "eject_seconds", "return_seconds", "p50_ms", "p99_ms", "max_ms",
             "calm_p99_ms", "attempts", "cpu_micros_per_request")
    return " ".join(f"{name}={result[name]}" for name in shown) + (" DIED" if result["died"] is not None else "")


def table(results):
    """A row for each failure, in each cell a figure for each proxy. Of several rounds the middle one, by failed and p99."""
    names = list(dict.fromkeys(result["proxy"] for result in results))
    of = " / ".join(names)
    rows = [f"Each cell: {of}.", "", "| row | requests failed | time to eject, s | time to return, s | p50, ms | p99, ms | longest, ms |",
            "|---|---|---|---|---|---|---|"]
    for row in ROWS:
        of_row = [middle([it for it in results if it["row"] == row.name and it["proxy"] == name]) for name in names]
        if any(of_row):
            cells = [" / ".join(cell(it, row) if it else "?" for it in of_row)
                     for cell in (failed, ejected, returned, usual, slowest, longest)]
            rows.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def middle(results):
    results = sorted(results, key=lambda it: (it["failed"], it["p99_ms"]))
    return results[len(results) // 2] if results else None


def failed(it, _):
    return str(it["failed"])


def ejected(it, row):
    if not row.bad:
        return "-"
    return "stays" if it["eject_seconds"] is None else f"{it['eject_seconds']:.2f}"


def returned(it, row):
    if not row.bad or it["eject_seconds"] is None and it["return_seconds"] is not None and not row.is_gone:
        return "-"
    return "later" if it["return_seconds"] is None else f"{it['return_seconds']:.2f}"


def usual(it, _):
    return f"{it['p50_ms']:.1f}"


def slowest(it, _):
    return f"{it['p99_ms']:.0f}"


def longest(it, _):
    return f"{it['max_ms']:.0f}"
