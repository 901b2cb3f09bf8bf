"""How much of the machine somebody else used: a measurement counts only when that was next to nothing."""
import os
import pathlib
import time

TICKS = os.sysconf("SC_CLK_TCK")


def busy_ticks():
    """Of all processors, everything but idling and waiting for disks; stolen time is somebody else's too."""
    user, nice, system, _, _, irq, softirq, steal = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    return user + nice + system + irq + softirq + steal


def process_ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Watch:
    """share() of the machine that was used since start() by others than `pids`."""

    def __init__(self, pids):
        self.pids = pids
        self.start()

    def ticks(self):
        return busy_ticks() - sum(map(process_ticks, self.pids))

    def start(self):
        self.begin, self.begin_ticks = time.monotonic(), self.ticks()

    def share(self):
        return (self.ticks() - self.begin_ticks) / TICKS / (time.monotonic() - self.begin) / os.cpu_count()
