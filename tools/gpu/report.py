"""Measurements of compare.py as Markdown tables on standard output, and as a picture.

usage: report.py MEASUREMENTS.json PICTURE.svg [--made-up]      --made-up: says in every place that these are no measurements (for tests)
"""
import json
import math
import statistics
import sys

ENGINES = ("resnetd", "torch.compile", "torch.eager")
COLOURS = {"resnetd": "#1b6ec2", "torch.compile": "#d1495b", "torch.eager": "#8d99ae"}

# What docs/gpu.md predicts and what is asked for: (what, network, precision, engine compared with, batches, function of our and their run, least).
TARGETS = (
    ("V1 fp16, batch 128 or 256, against torch.compile", "v1", "fp16", "torch.compile", (128, 256),
     lambda ours, theirs: rows_per_s(ours) / rows_per_s(theirs), 1.3),
    ("V1 fp16, batch 128 or 256, rows a second on an H100", "v1", "fp16", None, (128, 256), lambda ours, _: best_speed(ours), 18000),
    ("V1 fp16, batch 1, one over milliseconds on an H100", "v1", "fp16", None, (1,), lambda ours, _: 1 / ours["median_ms"], 1 / 0.65),
    ("V2 fp16, batch 128 or 256, rows a second on an H100", "v2", "fp16", None, (128, 256), lambda ours, _: best_speed(ours), 14000),
)


def rows_per_s(run):
    return run["batch"] / run["median_ms"] * 1e3


def best_speed(run):
    return max(rows_per_s(run), run.get("pipelined_rows_per_s", 0))


def medians(lines):
    """(network, precision, engine, batch) -> the median of its rounds, field by field."""
    rounds = {}
    for line in lines:
        run = json.loads(line)
        rounds.setdefault((run["network"], run["precision"], run["engine"], run["batch"]), []).append(run)
    result = {}
    for key, runs in rounds.items():
        result[key] = dict(runs[0], rounds=len(runs))
        for field in ("median_ms", "p99_ms", "pipelined_rows_per_s"):
            if field in runs[0]:
                result[key][field] = statistics.median(run[field] for run in runs)
    return result


def print_table(runs, network, precision):
    engines = [engine for engine in ENGINES if any(key[:3] == (network, precision, engine) for key in runs)]
    print(f"\n### {network.upper()} {precision}\n")
    print("| batch | " + " | ".join(f"{engine}, rows/s (median ms, p99)" for engine in engines) + " | resnetd, two batches under way, rows/s |")
    print("|---" * (len(engines) + 2) + "|")
    for batch in sorted({key[3] for key in runs if key[:2] == (network, precision)}):
        cells = []
        for engine in engines:
            run = runs.get((network, precision, engine, batch))
            cells.append(f"{rows_per_s(run):.0f} ({run['median_ms']:.2f}, {run['p99_ms']:.2f})" if run else "")
        ours = runs.get((network, precision, "resnetd", batch))
        print(f"| {batch} | " + " | ".join(cells) + f" | {ours['pipelined_rows_per_s']:.0f} |" if ours else "")


def print_targets(runs):
    print("\n### What is asked for\n\n| | least | found | |\n|---|---|---|---|")
    for what, network, precision, other, batches, value, least in TARGETS:
        found = []
        for batch in batches:
            ours, theirs = runs.get((network, precision, "resnetd", batch)), runs.get((network, precision, other, batch))
            if ours and (theirs or other is None):
                found.append(value(ours, theirs))
        verdict = "not measured" if not found else "met" if max(found) >= least else "**missed**"
        print(f"| {what} | {least:.4g} | {f'{max(found):.4g}' if found else ''} | {verdict} |")


def picture(runs, made_up):
    """Rows a second over the batch, V1 fp16, both axes logarithmic."""
    width, height, left, bottom = 720, 420, 80, 50
    lines = {engine: sorted((key[3], rows_per_s(run)) for key, run in runs.items() if key[:3] == ("v1", "fp16", engine)) for engine in ENGINES}
    points = [point for line in lines.values() for point in line] or [(1, 1)]
    x_end, y_low, y_high = math.log2(max(b for b, _ in points)) or 1, math.log10(min(s for _, s in points)), math.log10(max(s for _, s in points))
    x = lambda batch: left + (width - left - 20) * math.log2(batch) / x_end
    y = lambda speed: height - bottom - (height - bottom - 40) * (math.log10(speed) - y_low) / ((y_high - y_low) or 1)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{left}" y="22">ResNet-101 V1 fp16, rows a second{" - MADE-UP NUMBERS" if made_up else ""}</text>',
           f'<path d="M{left} 40V{height - bottom}H{width - 20}" fill="none" stroke="black"/>']
    for batch in sorted({b for b, _ in points}):
        out.append(f'<text x="{x(batch):.1f}" y="{height - bottom + 20}" text-anchor="middle">{batch}</text>')
    for exponent in range(math.floor(y_low), math.ceil(y_high) + 1):
        if y_low <= exponent <= y_high:
            out.append(f'<text x="{left - 8}" y="{y(10 ** exponent):.1f}" text-anchor="end">{10 ** exponent}</text>')
    for i, (engine, line) in enumerate((engine, line) for engine, line in lines.items() if line):
        out.append(f'<polyline points="{" ".join(f"{x(b):.1f},{y(s):.1f}" for b, s in line)}" fill="none" stroke="{COLOURS[engine]}" stroke-width="2"/>')
        out.append(f'<text x="{left + 20}" y="{60 + 18 * i}" fill="{COLOURS[engine]}">{engine}</text>')
    return "\n".join([*out, "</svg>", ""])


def main():
    made_up = "--made-up" in sys.argv
    measurements, svg = [argument for argument in sys.argv[1:] if argument != "--made-up"]
    with open(measurements, encoding="utf-8") as lines:
        runs = medians(lines)
    if made_up:
        print("\n**These numbers are made up: they show the form of this report and nothing else.**")
    print("\nFrom uint8 pictures on the host to probabilities on the host; medians of rounds in which the engines took turns.")
    for network in ("v1", "v2"):
        for precision in ("fp16", "bf16", "tf32"):
            if any(key[:2] == (network, precision) for key in runs):
                print_table(runs, network, precision)
    print_targets(runs)
    with open(svg, "w", encoding="utf-8") as out:
        out.write(picture(runs, made_up))


if __name__ == "__main__":
    main()
