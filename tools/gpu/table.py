"""JSON lines of gpu-check and torch_bench.py on standard input to a Markdown table: one row a batch, one column an engine and precision."""
import json
import sys

runs = [json.loads(line) for line in sys.stdin if line.startswith("{")]
columns = sorted({(run["network"], run["precision"], run["engine"]) for run in runs})
speed = {(run["network"], run["precision"], run["engine"], run["batch"]): run for run in runs}
print("| batch | " + " | ".join(f"{network} {precision} {engine}" for network, precision, engine in columns) + " |")
print("|---" * (len(columns) + 1) + "|")
for batch in sorted({run["batch"] for run in runs}):
    cells = [speed.get((*column, batch)) for column in columns]
    print(f"| {batch} | " + " | ".join(f"{cell['rows_per_s']:.0f} ({cell['median_ms']:.2f} ms)" if cell else "" for cell in cells) + " |")
