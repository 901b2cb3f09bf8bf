#!/usr/bin/env python3
"""Plots of what resnet-bench and compare_peers.py measured, as SVG and PNG.

    resnet-bench kernels --json > k.jsonl;  resnet-bench model ... --profile --json > m.jsonl;  resnet-bench serve ... --json > s.jsonl
    plot_bench.py OUT k.jsonl m.jsonl s.jsonl

Of what the files hold: OUT-roofline (kernels), OUT-layers (model --profile), OUT-throughput (model), OUT-server (serve). A file that ends in .csv is the
history that `locust --csv` writes: OUT-users. compare_peers.py report draws its own through draw_peers().
"""
import argparse
import csv
import json
import pathlib
import statistics

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "resnetd"  # the same input gives the same file
import matplotlib.pyplot as plt  # noqa: E402

OURS, THEIRS, THIRD, GREY = "#1f6f8b", "#e07a3f", "#5a9e5a", "#888888"
KINDS = {"conv2d 3x3": OURS, "conv2d 1x1": THEIRS, "conv2d 7x7": "#8b5fa8", "dense": THIRD}


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path.with_name(path.name + ".svg"), metadata={"Date": None}, bbox_inches="tight")
    figure.savefig(path.with_name(path.name + ".png"), dpi=150, bbox_inches="tight")
    plt.close(figure)
    print(path.with_name(path.name + ".svg"))


def kind_of(operation):
    return next((kind for kind in KINDS if operation.startswith(kind)), None)


def caption(record):
    return f"{record['processor']}, commit {record['commit']}"


def draw_roofline(kernels, out):
    """Speed over arithmetic intensity, f32 by the widest instructions. A 3x3 layer above the roof is Winograd's: fewer multiplications than counted."""
    kernels = [k for k in kernels if k["dtype"] == "float" and "chained" not in k["kernel"]]
    widest = max((k for k in kernels if k["gflops"] > 0), key=lambda k: k["peak_gflops"])
    kernels = [k for k in kernels if (k["isa"], k["batch"]) == (widest["isa"], widest["batch"])]
    figure, axes = plt.subplots(figsize=(8, 5))
    peak, bandwidth = widest["peak_gflops"], widest["peak_gb_per_s"]
    counted = [k for k in kernels if k["gflops"] > 0]
    intensity = [k["gflops"] / k["gb_per_s"] for k in counted]
    left, right = min(0.5, min(intensity)) / 2, max(intensity) * 2
    axes.plot([left, peak / bandwidth, right], [left * bandwidth, peak, peak], color=GREY, linewidth=1.5)
    axes.annotate(f"multiply-add peak {peak:.0f} GFLOP/s", (right, peak), xytext=(-4, 4), textcoords="offset points", ha="right", color=GREY)
    slope = (left * peak / bandwidth) ** 0.5
    axes.annotate(f"memory {bandwidth:.0f} GB/s", (slope, slope * bandwidth), xytext=(8, -4), textcoords="offset points", va="top", color=GREY)
    for kind, colour in KINDS.items():
        points = [(i, k["gflops"]) for i, k in zip(intensity, counted) if kind_of(k["operation"]) == kind]
        if points:
            axes.scatter(*zip(*points), s=28, color=colour, label=kind, zorder=3, alpha=0.85, edgecolor="white", linewidth=0.5)
    axes.set(xscale="log", yscale="log", xlabel="operations a byte of activations and weights", ylabel="GFLOP/s",
             title=f"Layers of ResNet-101, batch {kernels[0]['batch']}, {kernels[0]['threads']} thread(s), {kernels[0]['isa']} fp32\n{caption(kernels[0])}")
    axes.grid(which="both", alpha=0.2)
    axes.legend(loc="lower right")
    save(figure, out)


def draw_layers(layers, out):
    layers = sorted(layers, key=lambda layer: layer["us"])
    figure, axes = plt.subplots(figsize=(10, 0.2 * len(layers) + 1.4))
    labels = [f"{layer['layers']} x {layer['operation']}" for layer in layers]
    axes.barh(labels, [layer["us"] / 1000 for layer in layers], color=[KINDS.get(kind_of(layer["operation"]), GREY) for layer in layers])
    for i, layer in enumerate(layers):
        rate = f"{layer['gflops']:.0f} GFLOP/s" if layer["gflops"] > 0 else ""
        axes.annotate(f" {100 * layer['share']:.1f} %  {rate}", (layer["us"] / 1000, i), va="center", fontsize=7)
    axes.set(xlabel="ms of one run", title=f"{layers[0]['model']}, batch {layers[0]['batch']}\n{caption(layers[0])}")
    axes.tick_params(axis="y", labelsize=7)
    axes.margins(x=0.3, y=0.01)
    save(figure, out)


def draw_curve(axes, x, lines, xlabel, ylabel):
    for (label, values), colour in zip(lines.items(), (OURS, THEIRS, THIRD)):
        axes.plot(x, values, marker="o", markersize=4, color=colour, label=label)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log", ylim=(0, None))
    axes.set_xticks(x, [str(n) for n in x])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.legend()


def draw_model(runs, out):
    runs = sorted(runs, key=lambda run: run["batch"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
    batches = [run["batch"] for run in runs]
    draw_curve(left, batches, {"throughput": [run["rows_per_s"] for run in runs]}, "batch", "pictures a second")
    lines = {"p50": "median_ms", "p90": "p90_ms", "p99": "p99_ms"}
    draw_curve(right, batches, {label: [run[key] for run in runs] for label, key in lines.items()}, "batch", "ms of one run")
    figure.suptitle(f"{runs[0]['model']}\n{caption(runs[0])}", fontsize=10)
    save(figure, out)


def draw_server(steps, out):
    steps = sorted(steps, key=lambda step: step["connections"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
    connections = [step["connections"] for step in steps]
    draw_curve(left, connections, {"answered": [step["rows_per_s"] for step in steps]}, "connections", "pictures a second")
    draw_curve(right, connections, {p: [step[f"{p}_ms"] for step in steps] for p in ("p50", "p90", "p99")}, "connections", "ms of a request")
    figure.suptitle(f"Over HTTP, {steps[0]['body']}, {steps[0]['batch']} row(s) a request\n{caption(steps[0])}", fontsize=10)
    save(figure, out)


def read_users(paths):
    """{users: {"rate": requests a second, "failed": of them, "50%": ms, ...}} of Locust's histories: medians over the seconds with that many users. A
    step's first half is left out: rates and percentiles are those of the last ten seconds, which then belong to the step before."""
    seconds = {}
    for path in paths:
        for row in csv.DictReader(path.read_text().splitlines()):
            if row["Name"] == "Aggregated" and int(row["User Count"]) > 0 and row["50%"] != "N/A":
                seconds.setdefault(int(row["User Count"]), []).append(row)
    columns = {"rate": "Requests/s", "failed": "Failures/s", "50%": "50%", "90%": "90%", "99%": "99%"}
    return {users: {name: statistics.median(float(row[column]) for row in rows[len(rows) // 2:]) for name, column in columns.items()}
            for users, rows in sorted(seconds.items())}


def draw_users(steps, out):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
    users = list(steps)
    left.plot(users, [s["rate"] for s in steps.values()], marker="o", color=OURS, label="requests")
    if any(s["failed"] > 0 for s in steps.values()):
        left.plot(users, [s["failed"] for s in steps.values()], marker="o", color=THEIRS, label="of them failed")
    left.set(xlabel="users", ylabel="requests a second", ylim=(0, None))
    for share, colour in (("50%", OURS), ("90%", THEIRS), ("99%", THIRD)):
        right.plot(users, [s[share] for s in steps.values()], marker="o", color=colour, label=share)
    right.set(xlabel="users", ylabel="ms of a request", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.2)
        axes.legend(loc="best", fontsize=8)
    figure.suptitle("Load in steps, by Locust: medians over the second half of each step", fontsize=10)
    save(figure, out)


def draw_peers(pairs, title, out):
    """pairs: {(ours, peer): {batch: [ratio of each pair]}}."""
    batches = sorted({batch for by_batch in pairs.values() for batch in by_batch})
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(pairs) * len(batches) * 0.6 + 1.6))
    colours = dict(zip(batches, (OURS, THEIRS, THIRD, GREY)))
    names, height = list(pairs), 0.8 / len(batches)
    for j, batch in enumerate(batches):
        rows = [(i, pairs[name][batch]) for i, name in enumerate(names) if batch in pairs[name]]
        middles = [statistics.median(ratios) for _, ratios in rows]
        places = [i + (j - (len(batches) - 1) / 2) * height for i, _ in rows]
        # Quartiles: single pairs swing with what the host's other guests do.
        spread = [[m - statistics.quantiles(r, n=4)[0] if len(r) > 1 else 0 for m, (_, r) in zip(middles, rows)],
                  [statistics.quantiles(r, n=4)[2] - m if len(r) > 1 else 0 for m, (_, r) in zip(middles, rows)]]
        axes.barh(places, middles, height * 0.9, xerr=spread, color=colours[batch], label=f"batch {batch}", error_kw={"elinewidth": 1, "capsize": 2})
        for place, middle, right in zip(places, middles, spread[1]):
            axes.annotate(f" {middle:.2f}", (middle + right, place), va="center", fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(names)), [f"{ours}\nbeside {peer}" for ours, peer in names], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set(xlabel="times as fast (median and quartiles of the pairs)", title=title)
    axes.legend(loc="best", fontsize=8)
    save(figure, out)


def read(paths):
    records = [json.loads(line) for path in paths for line in path.read_text().splitlines() if line.startswith("{")]
    return {kind: [r for r in records if r.get("measures") == kind] for kind in ("kernel", "layer", "model", "serve")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    options = parser.parse_args()
    histories = [path for path in options.files if path.suffix == ".csv"]
    found = read([path for path in options.files if path.suffix != ".csv"])
    if users := read_users(histories):
        draw_users(users, options.out.with_name(f"{options.out.name}-users"))
    elif histories:
        parser.error(f"{histories[0]}: no second with users in it; locust --csv=NAME writes NAME_stats_history.csv")
    for kind, suffix, draw in (("kernel", "roofline", draw_roofline), ("layer", "layers", draw_layers), ("model", "throughput", draw_model),
                               ("serve", "server", draw_server)):
        if found[kind]:
            draw(found[kind], options.out.with_name(f"{options.out.name}-{suffix}"))


if __name__ == "__main__":
    main()
