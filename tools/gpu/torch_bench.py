"""ResNet-101 V1 in PyTorch on the same card, for comparison: eager channels_last, and torch.compile max-autotune (CUDA graphs). One JSON line each.

usage: torch_bench.py [--small]
"""
import json
import sys
import time

import torch
from torch import nn

SMALL = "--small" in sys.argv
BATCHES = (1, 4) if SMALL else (1, 2, 4, 8, 16, 32, 64, 128, 256)
PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16, "tf32": torch.float32}


class Block(nn.Module):
    """Keras' bottleneck: the stride is on the first 1x1. Batch norm is folded, as it is on our side."""

    def __init__(self, c, width, stride, widens):
        super().__init__()
        self.a = nn.Conv2d(c, width, 1, stride)
        self.b = nn.Conv2d(width, width, 3, padding=1)
        self.c = nn.Conv2d(width, 4 * width, 1)
        self.shortcut = nn.Conv2d(c, 4 * width, 1, stride) if widens else nn.Identity()

    def forward(self, x):
        y = torch.relu(self.b(torch.relu(self.a(x))))
        return torch.relu(self.c(y) + self.shortcut(x))


def resnet(blocks=(3, 4, 23, 3), width=64, classes=1000):
    layers = [nn.Conv2d(3, width, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    c = width
    for stage, count in enumerate(blocks):
        for i in range(count):
            layers.append(Block(c, width << stage, 2 if stage and not i else 1, not i))
            c = 4 * (width << stage)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, classes), nn.Softmax(1))


def median_ms(model, pixels, dtype):
    """From uint8 on the host to probabilities on the host, as our run does."""
    times = []
    start = time.perf_counter()
    while len(times) < 8 or (time.perf_counter() - start < 1 and len(times) < 10000):
        before = time.perf_counter()
        x = pixels.to("cuda", non_blocking=True).to(dtype).mul_(0.017).sub_(2)
        model(x).float().cpu()
        times.append(time.perf_counter() - before)
    times = sorted(times[3:])
    return times[len(times) // 2] * 1e3, len(times)


def main():
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    for precision, dtype in PRECISIONS.items():
        torch.manual_seed(1)
        eager = resnet(*(((1, 2, 2, 1), 16) if SMALL else ())).eval().to("cuda", dtype, memory_format=torch.channels_last)
        for engine in ("torch eager", "torch.compile max-autotune"):
            model = eager if engine == "torch eager" else torch.compile(eager, mode="max-autotune")
            for batch in BATCHES:
                if engine != "torch eager" and batch not in (1, 8, 32, 128, 256):
                    continue  # each takes most of a minute to compile
                side = 64 if SMALL else 224
                pixels = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8).contiguous(memory_format=torch.channels_last).pin_memory()
                with torch.inference_mode():
                    milliseconds, runs = median_ms(model, pixels, dtype)
                print(json.dumps({"engine": engine, "network": "v1", "precision": precision, "batch": batch, "median_ms": round(milliseconds, 4),
                                  "rows_per_s": round(batch / milliseconds * 1e3, 1), "runs": runs, "torch": torch.__version__}), flush=True)


if __name__ == "__main__":
    main()
