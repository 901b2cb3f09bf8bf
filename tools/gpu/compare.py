"""Times resnetd's backend and PyTorch on one GPU in turns, so that clocks, heat and neighbours treat them alike. Writes a JSON line for each measurement.

usage: compare.py [--small] GPU_CHECK_PROGRAM OUTPUT.json

PyTorch is left out, with a word on standard error, where it cannot be imported or sees no GPU.
"""
import pathlib
import subprocess
import sys
import time

SMALL = "--small" in sys.argv
PROGRAM, OUTPUT = [argument for argument in sys.argv[1:] if argument != "--small"]
ROUNDS = 3
BATCHES = (1, 4) if SMALL else (1, 2, 4, 8, 16, 32, 64, 128, 256)
COMPILED = (1, 4) if SMALL else (1, 32, 128, 256)  # each takes torch.compile most of a minute; fp16 alone
SECONDS = 60 if SMALL else 400  # after which no further measurement begins: the whole check fits in ten minutes


class Timer:
    """A program that answers a line with a line."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer.startswith("{"):
            sys.exit(f"compare: {self.process.args[0]} ended while it was asked for {' '.join(map(str, words))}")
        return answer


def torch_timer():
    probe = subprocess.run([sys.executable, "-c", "import torch; assert torch.cuda.is_available(), 'it sees no GPU'"], capture_output=True, text=True)
    if probe.returncode != 0:
        print("PyTorch: SKIP,", probe.stderr.strip().splitlines()[-1], file=sys.stderr)
        return None
    return Timer(sys.executable, pathlib.Path(__file__).with_name("torch_resnet.py"), *(["--small"] if SMALL else []))


def measurements(with_torch):
    """(whom to ask, what) in the order of asking: what is to be compared follows one another, round by round."""
    for precision in ("fp16", "bf16", "tf32"):
        for batch in BATCHES:
            for _ in range(ROUNDS):
                yield "resnetd", (1, precision, batch)
                if with_torch:
                    yield "torch", ("torch.eager", precision, batch)
                    if precision == "fp16" and batch in COMPILED:
                        yield "torch", ("torch.compile", precision, batch)
    for precision in ("fp16", "bf16"):
        for batch in BATCHES:
            for _ in range(ROUNDS):
                yield "resnetd", (2, precision, batch)


def main():
    timers = {"resnetd": Timer(PROGRAM, "bench", *(["--small"] if SMALL else [])), "torch": torch_timer()}
    begin = time.monotonic()
    with open(OUTPUT, "w", encoding="utf-8") as out:
        for who, what in measurements(timers["torch"]):
            if time.monotonic() - begin > SECONDS:
                print(f"time is over before {who} {what}: what follows is not measured", file=sys.stderr)
                break
            out.write(timers[who].ask(*what))
            out.flush()


if __name__ == "__main__":
    main()
