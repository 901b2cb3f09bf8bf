"""ResNet-101 V1 in PyTorch, for comparison on the same card: eager channels_last, and torch.compile max-autotune (which records CUDA graphs). Answers lines
"ENGINE PRECISION BATCH" on standard input with a JSON line each, as gpu-check bench does.

usage: torch_resnet.py [--small]
"""
import json
import sys
import time

import torch
from torch import nn

SMALL = "--small" in sys.argv
PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16, "tf32": torch.float32}
SECONDS = 0.4


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


def time_runs(model, batch, dtype):
    """Sorted milliseconds from uint8 on the host to probabilities on the host, as our run does."""
    side = 64 if SMALL else 224
    pixels = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8).contiguous(memory_format=torch.channels_last).pin_memory()

    def run():
        x = pixels.to("cuda", non_blocking=True).to(dtype).mul_(0.017).sub_(2)
        model(x).float().cpu()

    times = []
    with torch.inference_mode():
        for _ in range(3):
            run()
        start = time.perf_counter()
        while len(times) < 5 or time.perf_counter() - start < SECONDS:
            before = time.perf_counter()
            run()
            times.append((time.perf_counter() - before) * 1e3)
    return sorted(times)


def main():
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    eager, compiled = {}, {}
    for line in sys.stdin:
        engine, precision, batch = line.split()
        dtype = PRECISIONS[precision]
        if precision not in eager:
            torch.manual_seed(1)
            eager[precision] = resnet(*(((1, 2, 2, 1), 16) if SMALL else ())).eval().to("cuda", dtype, memory_format=torch.channels_last)
            compiled[precision] = torch.compile(eager[precision], mode="max-autotune")
        times = time_runs((compiled if engine == "torch.compile" else eager)[precision], int(batch), dtype)
        print(json.dumps({"engine": engine, "network": "v1", "precision": precision, "batch": int(batch), "median_ms": round(times[len(times) // 2], 4),
                          "p99_ms": round(times[len(times) * 99 // 100], 4), "runs": len(times), "torch": torch.__version__}), flush=True)


if __name__ == "__main__":
    main()
