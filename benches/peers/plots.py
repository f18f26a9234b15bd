"""Horizontal bars, as SVG that a page shows in light and in dark."""

import os
from html import escape

import proxies
import table

WIDTH, LEFT, RIGHT, ROW, TOP = 760, 300, 70, 26, 44
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #222 }
  .title { font-weight: 600; font-size: 15px } .small { font-size: 11px; fill: #666 }
  .bar { fill: #8aa4bf } .own { fill: #d9772b } .range { stroke: #444; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .small { fill: #999 } .bar { fill: #58738f } .range { stroke: #ccc }
  }
"""


def write(results, out):
    for name in ("http1", "http2", "tls"):
        found = table.spreads(results, name)
        bars = [(title(peer), it["cpu_micros"].median, it["cpu_micros"].low, it["cpu_micros"].high)
                for peer, it in found.items()]
        save(out, f"cpu-{name}", f"CPU for a request, us: {table.TITLES[name]}", bars, "{:.1f}")
    found = {peer: it for peer, it in table.spreads(results, "latency").items() if it["bears_it"].median == 1}
    for part, said in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9")):
        bars = [(title(peer), *(value / 1000 for value in (it[f"{part}_micros"].median, it[f"{part}_micros"].low,
                                                    it[f"{part}_micros"].high))) for peer, it in found.items()]
        save(out, f"latency-{part}", f"Latency at {results['rate']:,} requests/s, {said}, ms", bars, "{:.2f}")
    raced = [it for it in results["tables"].get("race", ()) if "race" in it]
    bars = [(it["title"], it["race"]["p50_ms"], it["race"]["p50_ms"], it["race"]["max_ms"]) for it in raced]
    save(out, "race", "From the command to the last request decided the old way, ms", bars, "{:.2f}",
         "bar: middle of the switches; line: to the longest")
    weighed = [(it["title"], it["connection"]["each"] / 1000) for it in results["tables"].get("memory", ())
               if "each" in it.get("connection", ())]
    save(out, "memory", "Memory of an idle connection that is kept, KB", [(it, *[each] * 3) for it, each in weighed],
         "{:.1f}", "")


def save(out, name, says, bars, form, legend="bar: middle of the rounds; line: least to most"):
    path = os.path.join(out, f"{name}.svg")
    if bars:
        with open(path, "w") as file:
            file.write(svg(says, bars, form, legend))
    elif os.path.exists(path):
        # Of another run: it is not to stand beside this one's figures.
        os.remove(path)


def svg(says, bars, form, legend):
    """`bars`: whose, the middle, the least and the most. The shortest first."""
    bars = sorted(bars, key=lambda bar: bar[1])
    # Bars show the middle; a round that was far out must not make all of them short.
    longest = max(bar[1] for bar in bars) * 1.15 or 1
    height = TOP + ROW * len(bars) + 24
    scale = (WIDTH - LEFT - RIGHT) / longest
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
             f"<style>{STYLE}</style>", f'<text class="title" x="8" y="22">{escape(says)}</text>']
    for number, (whose, middle, low, high) in enumerate(bars):
        y = TOP + ROW * number
        kind = "own" if whose.startswith("Switchback") else "bar"
        end, from_, to = (LEFT + min(value, longest) * scale for value in (middle, low, high))
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(whose)}</text>',
            f'<rect class="{kind}" x="{LEFT}" y="{y + 2}" width="{end - LEFT:.1f}" height="{ROW - 9}"/>',
            f'<line class="range" x1="{from_:.1f}" x2="{to:.1f}" y1="{y + 10.5}" y2="{y + 10.5}"/>',
            f'<text x="{max(end, to) + 6:.1f}" y="{y + 14}">{form.format(middle)}</text>',
        ]
    lines.append(f'<text class="small" x="{LEFT}" y="{height - 8}">{legend}</text>')
    return "\n".join(lines) + "\n</svg>\n"


def title(peer):
    return proxies.EVERYBODY[peer].title.replace("and the fields that Switchback writes", "same fields")
