"""Tables of what was measured, in Markdown."""

BEGIN, END = "<!-- figures of a run: begin -->\n", "<!-- figures of a run: end -->\n"


def text(results):
    """All tables of which there are figures."""
    parts = [machine(results["machine"])]
    growth = results.get("growth", [])
    if growth:
        parts += [requests(growth), shapes(growth), memory_of(growth), switches(growth), switch_memory(growth)]
    if results.get("workers"):
        parts.append(workers(results["workers"]))
    if results.get("memory"):
        parts.append(memory(results["memory"]))
    if results.get("steady"):
        parts.append(steady(results["steady"]))
    return "\n".join(parts)


def put_into(readme, tables):
    """Between two marks of a page that explains them."""
    with open(readme) as file:
        page = file.read()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(readme, "w") as file:
        file.write(before + BEGIN + tables + END + after)


def machine(it):
    return (f"{it['cores']} cores ({it['model']}), Linux {it['kernel']}, {it['date']}; `{it['version']}`; "
            f"{it['rounds']} rounds of {it['seconds']} s; load average at the begin {it['load_before']}, at the end {it['load_after']}, "
            f"of which this run is about 2.\n")


def table(heads, rows):
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join(lines + [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]) + "\n"


def columns(growth):
    return sorted({size["of"] for row in growth for size in row["sizes"]})


def by_size(growth, cell, last=None):
    """A line for each row, a column for each number."""
    numbers, lines = columns(growth), []
    for row in growth:
        sizes = {size["of"]: size for size in row["sizes"]}
        line = [row["what"], *(cell(sizes[number]) if number in sizes else "" for number in numbers)]
        lines.append(line + ([last[1](row)] if last else []))
    return table(["how many", *(f"{number:,}" for number in numbers), *([last[0]] if last else [])], lines)


def requests(growth):
    def cell(size):
        half = (size["cpu_micros_most"] - size["cpu_micros_least"]) / 2
        return f"{size['cpu_micros']:.1f} ± {half:.1f}"

    def only_one(row):
        one = row["sizes"][-1].get("only_one_asked")
        return f"{one['cpu_micros']:.1f}" if one else ""

    parts = ["### A request: CPU, us\n", by_size(growth, cell, ("one asked, of the most", only_one))]
    if any("instructions" in size for row in growth for size in row["sizes"]):
        parts += ["### A request: instructions in user space\n",
                  by_size(growth, lambda size: f"{size['instructions']:,.0f}" if size.get("instructions") else "")]
    parts += ["### Requests/s, and p99 in ms\n",
              by_size(growth, lambda size: f"{size['per_second']:,.0f}, {size['p99_micros'] / 1000:.1f}")]
    failed = sum(size["failed"] for row in growth for size in row["sizes"])
    parts.append(f"{failed} requests failed of {sum(size['requests'] for row in growth for size in row['sizes']):,}.\n")
    return "\n".join(parts)


def named(it, unit, digits=1):
    """A shape with its step."""
    step = {"constant": "", "none of these": "", "logarithmic": f", +{it['step']:.{digits}f} {unit} for ten times as many",
            "linear": f", +{it['step']:.{digits}f} {unit} for a thousand more",
            "quadratic": f", {it['step']:.{digits}f} {unit} for a thousand times a thousand"}[it["shape"]]
    return f"**{it['shape']}**{step}"


def shapes(growth):
    lines = [[row["what"], named(row["request_shape"], "us"), counted(row), row["why"]] for row in growth]
    return "### Shapes: a request\n\n" + table(["of", "CPU", "instructions", "as"], lines)


def counted(row):
    return named(row["instruction_shape"], "", 0) if row.get("instruction_shape") else ""


def memory_of(growth):
    def shape(row):
        it = row["memory_shape"]
        return named({**it, "step": it["step"] / 1e6}, "MB")

    return ("### Memory before any request: RSS, and of that the proxy's own (not its program), MB\n\n"
            + by_size(growth, lambda size: f"{size['rss'] / 1e6:.1f}, {size['own'] / 1e6:.1f}", ("shape of its own", shape))
            + "\n### Other threads than the workers, during the requests, % of a core\n\n"
            + by_size(growth, lambda size: f"{size['beside_percent']:.1f}"))


def with_switches(growth):
    return [row for row in growth if "switch" in row["sizes"][0]]


def switches(growth):
    growth = with_switches(growth)
    if not growth:
        return ""

    def times(step):
        def cell(size):
            it = size[step]
            return f"{it['switched_micros'] / 1000:.2f}, {it['call_milliseconds']:.1f}"
        return cell

    def shape(row):
        return named(row["call_shape"], "ms") + last(row["call_exponent"])

    def last(power):
        # Where next to nothing grew, the power is that of the noise.
        return f"; at last n^{power:.1f}" if power is not None and power > 0.5 else ""

    return ("### A switch to another pool: until every worker has switched, and the whole call, ms\n\n"
            + by_size(growth, times("switch"), ("shape of the call", shape))
            + "\n### `back`: the same\n\n" + by_size(growth, times("back"))
            + "\n### A switch: CPU of the proxy, with what it leaves to be done after it, ms\n\n"
            + by_size(growth, lambda size: f"{size['switch_cpu_milliseconds']:.1f}"))


def switch_memory(growth):
    growth = with_switches(growth)
    if not growth:
        return ""
    return "### A release that is kept ready: MB of memory\n\n" + by_size(growth, lambda size: f"{size['release_bytes'] / 1e6:.2f}")


def workers(results):
    lines = [[it["workers"], f"{it['cpu_micros']:.1f}", f"{it['per_second']:,.0f}", f"{it['p50_micros'] / 1000:.2f}",
              f"{it['p99_micros'] / 1000:.2f}"] for it in results]
    return "### Workers\n\n" + table(["workers", "CPU for a request, us", "requests/s", "p50, ms", "p99, ms"], lines)


def memory(results):
    lines = [[it["what"], f"{it['bytes'] / 1000:.1f}"] for it in results["connections"]]
    if results.get("instances"):
        it = results["instances"]
        lines += [["instance of a policy, on each worker", f"{it['instance'] / 1000:.1f}"],
                  ["policy, its vip included, without its instances", f"{(it['policy_one_worker'] - it['instance']) / 1000:.1f}"]]
    if results.get("builds"):
        rest = results["instances"]["policy_one_worker"]
        lines.append(["build of a policy: its compiled code", f"{(results['builds']['build'] - rest) / 1000:.1f}"])
    for it in results.get("releases", []):
        lines.append([f"release that is kept ready, {it['what']}", f"{it['bytes'] / 1000:.1f}"])
    return "### Memory, KB for each one more\n\n" + table(["what", "KB"], lines)


def steady(it):
    lines = [[f"{sample['requests']:,}", f"{sample['switches']:,}", f"{sample['rss'] / 1e6:.1f}", f"{sample['own'] / 1e6:.2f}"]
             for sample in it["samples"]]
    said = {True: "flat", False: "**rising**", None: "not judged, as too few came before"}[it["flat"]]
    return ("### Requests and switches at once\n\n" + table(["requests", "switches", "RSS, MB", "of that its own, MB"], lines)
            + f"\nFrom the fourth sample on {said}: {it['rise_bytes'] / 1000:+.0f} KB by the fit, {it['rise_bytes_max'] / 1000:.0f} are allowed; "
            + f"{it['slope_bytes_per_switch']:+.0f} bytes a switch. {it['failed']} requests{how(it)} and {len(it['troubles'])} switches failed.\n")


def how(it):
    """What wrk says went wrong; its timeout is an answer that took two seconds."""
    kinds = [f"{number} {kind}" for kind, number in it["failed_how"].items() if number]
    return f" ({', '.join(kinds)})" if kinds else ""
