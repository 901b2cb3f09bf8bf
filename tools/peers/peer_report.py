"""From the pairs of compare_peers.py to a page, a JSON file and a plot."""
import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import plot_bench  # noqa: E402


def group(records):
    """{(ours, peer): {batch: [record]}}, in the order of first appearance."""
    pairs = {}
    for record in records:
        pairs.setdefault(tuple(record["engines"]), {}).setdefault(record["batch"], []).append(record)
    return pairs


def ratios(records):
    return [record["ms"][1] / record["ms"][0] for record in records]


def line(ours, peer, batch, records):
    middle = [statistics.median(record["ms"][i] for record in records) for i in range(2)]
    quotients = sorted(ratios(records))
    quartiles = statistics.quantiles(quotients, n=4) if len(quotients) > 1 else quotients * 3
    return (f"| {ours} | {peer} | {batch} | {middle[0]:.1f} | {middle[1]:.1f} | **{statistics.median(quotients):.2f}** | {quartiles[0]:.2f} .. "
            f"{quartiles[2]:.2f} | {len(records)} | {records[-1]['differences'][1]:.1e} |")


def write(pairs_file, out):
    records = [json.loads(text) for text in pairs_file.read_text().splitlines()]
    pairs, last = group(records), records[-1]
    versions = dict(zip((name for r in records for name in r["engines"]), (version for r in records for version in r["versions"])))
    title = f"{last['model']}, {last['threads']} threads\n{last['processor']}"
    plot_bench.draw_peers({name: {batch: ratios(r) for batch, r in sorted(by_batch.items())} for name, by_batch in pairs.items()}, title, out)
    out.with_name(out.name + ".json").write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n")
    text = [f"# {last['model']}: beside other engines", "",
            f"{last['processor']}, {last['threads']} threads, {len(records)} pairs. A pair is a turn of ours and one of the peer's right after it, on the same "
            "weights and rows; pairs during which somebody else used more than a twentieth of the machine do not count. The ratio is peer time / our "
            "time; medians, and quartiles of the pairs' ratios. The last column is how far the peer's answers are from our fp32's, relative to the largest.",
            "", f"![times as fast]({out.name}.svg)", "",
            "| ours | beside | batch | ours, ms | peer, ms | ratio | quartiles | pairs | answers differ by |", "|---|---|---|---|---|---|---|---|---|"]
    text += [line(*name, batch, by_batch[batch]) for name, by_batch in pairs.items() for batch in sorted(by_batch)]
    folder = f"build/peers/{pairs_file.parent.name}"
    batches = sorted({record["batch"] for record in records})
    text += ["", "| engine | version |", "|---|---|", *(f"| {name} | {version} |" for name, version in sorted(versions.items())), "",
             f"Every pair is in [{out.name}.json]({out.name}.json). "
             "`tools/oracle/make_models.py` and `tools/compare_peers.py` say in `--help` what they need:", "",
             "```sh", f"python tools/compare_peers.py prepare SAVED_MODEL {folder} --pixel_range 255  # 1 for models that take [0, 1]",
             *(f"python tools/compare_peers.py measure {folder} --batch {batch} --threads {last['threads']}" for batch in batches),
             f"python tools/compare_peers.py report {folder} docs/results/{out.name}", "```", ""]
    out.with_name(out.name + ".md").write_text("\n".join(text))
    print(out.with_name(out.name + ".md"))
