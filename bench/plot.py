"""The plots of the benchmark pages: throughput as bars, latency from p50 to p99 as lines, in light and dark."""

import math
from html import escape

WIDTH, LEFT, MIDDLE, TOP, ROW = 980, 220, 610, 96, 46
BAR_SPACE, LATENCY_SPACE = 290, 330
Pair = tuple[tuple[str, str], tuple[str, str]]
"""The two bars of each row: what it is a figure of, and its style."""
STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1f2328; }
  .card { fill: #ffffff; stroke: #d1d9e0; } .title { font-size: 15px; font-weight: 600; }
  .soft { fill: #59636e; font-size: 12px; } .grid { stroke: #e4e8ec; stroke-width: 1; }
  .ours { fill: #1f6feb; stroke: #1f6feb; } .theirs { fill: #b3690f; stroke: #b3690f; }
  .bar { stroke: none; } .span { stroke-width: 3; stroke-linecap: round; fill: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .card { fill: #0d1117; stroke: #3d444d; } .soft { fill: #9198a1; }
    .grid { stroke: #262c36; } .ours { fill: #58a6ff; stroke: #58a6ff; }
    .theirs { fill: #e3a04a; stroke: #e3a04a; }
  }
"""

Scenarios = dict[str, dict[str, dict[str, float]]]
"""The rows, in order: the figures of each bar."""


def draw(scenarios: Scenarios, labels: dict[str, str], title: str, pair: Pair) -> str:
    """The whole plot as an SVG text."""
    bottom = TOP + ROW * len(scenarios)
    height = bottom + 56
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        f'width="{WIDTH}" height="{height}" aria-label="{escape(title)}: throughput and latency">',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>',
        *legend(title, pair),
        text(LEFT, TOP - 18, "Throughput", "title"),
        text(MIDDLE, TOP - 18, "Latency, p50 ● to p99 ○", "title"),
        *(text(LEFT - 14, TOP + ROW * n + 27, labels[s], anchor="end") for n, s in enumerate(scenarios)),
        *throughput(scenarios, pair, bottom),
        *latency(scenarios, pair, bottom),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def legend(title: str, pair: Pair) -> list[str]:
    """Which colour is whose."""
    parts = [text(20, 34, title, "title")]
    for n, (peer, colour) in enumerate(pair):
        x = WIDTH - 272 + 132 * n
        parts.append(f'<rect class="bar {colour}" x="{x}" y="23" width="12" height="12" rx="3"/>')
        parts.append(text(x + 18, 34, peer))
    return parts


def throughput(scenarios: Scenarios, pair: Pair, bottom: int) -> list[str]:
    """A bar for each scenario and server, from zero."""
    rates = [figures["rate"] for peers in scenarios.values() for figures in peers.values()]
    step = tick_step(max(rates, default=1))
    top = step * math.ceil(max(rates, default=1) / step)
    parts = []
    for n in range(round(top / step) + 1):
        x = LEFT + BAR_SPACE * n * step / top
        parts += [line(x, TOP, x, bottom, "grid"), text(x, bottom + 18, f"{n * step:,.0f}", "soft", "middle")]
    parts.append(text(LEFT + BAR_SPACE / 2, bottom + 38, "requests per second (more is better)", "soft", "middle"))
    for n, peers in enumerate(scenarios.values()):
        for k, (peer, colour) in enumerate(pair):
            if peer in peers:
                width, y = max(2, BAR_SPACE * peers[peer]["rate"] / top), TOP + ROW * n + 8 + 16 * k
                parts.append(f'<rect class="bar {colour}" x="{LEFT}" y="{y}" width="{width:.1f}" height="13" rx="2"/>')
                parts.append(text(LEFT + width + 6, y + 11, f"{peers[peer]['rate']:,.0f}", "soft"))
    return parts


def latency(scenarios: Scenarios, pair: Pair, bottom: int) -> list[str]:
    """A line from p50 to p99 for each scenario and server, on a logarithmic scale."""
    values = [figures[key] for peers in scenarios.values() for figures in peers.values() for key in ("p50", "p99")]
    low = math.floor(math.log10(min(values, default=0.1)))
    high = math.ceil(math.log10(max(values, default=1000)))

    def place(value: float) -> float:
        return MIDDLE + LATENCY_SPACE * (math.log10(value) - low) / max(1, high - low)

    parts = []
    for power in range(low, high + 1):
        x = place(10.0**power)
        parts += [
            line(x, TOP, x, bottom, "grid"),
            text(x, bottom + 18, f"{10.0**power:,g}", "soft", "middle"),
        ]
    caption = "milliseconds, logarithmic (less is better)"
    parts.append(text(MIDDLE + LATENCY_SPACE / 2, bottom + 38, caption, "soft", "middle"))
    for n, peers in enumerate(scenarios.values()):
        for k, (peer, colour) in enumerate(pair):
            if peer in peers:
                y, first, last = (
                    TOP + ROW * n + 14.5 + 16 * k,
                    place(peers[peer]["p50"]),
                    place(peers[peer]["p99"]),
                )
                parts.append(line(first, y, last - 5, y, f"span {colour}"))
                parts.append(f'<circle class="{colour}" cx="{first:.1f}" cy="{y}" r="4"/>')
                parts.append(f'<circle class="span {colour}" style="fill: none" cx="{last:.1f}" cy="{y}" r="4"/>')
    return parts


def tick_step(largest: float) -> float:
    """A round step that gives at most five ticks."""
    size = 10.0 ** math.floor(math.log10(largest))
    return next(size * share for share in (0.2, 0.25, 0.5, 1, 2, 2.5, 5) if largest / (size * share) <= 5)


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    """One line of text."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """One straight line."""
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
