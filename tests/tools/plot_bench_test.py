"""tools/plot_bench.py on what Locust writes: the right figures out of a history, and a picture of them."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
HEAD = "Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%,Total Request Count,Total Failure Count"


def row(users, rate, failed, p50, p90, p99, name="Aggregated"):
    return f"1,{users},,{name},{rate},{failed},{p50},1,1,1,{p90},1,1,{p99},1,1,1,5,0"


def test_users(tmp_path):
    """Of each number of users the second half counts; single calls and seconds before the first answer do not."""
    import plot_bench
    history = tmp_path / "steps_stats_history.csv"
    history.write_text("\n".join([HEAD, row(2, 0, 0, "N/A", "N/A", "N/A"), row(2, 1, 0, 99, 99, 99), row(2, 10, 0, 5, 6, 7), row(2, 99, 9, 9, 9, 9, name="/x"),
                                  row(4, 50, 5, 50, 50, 50), row(4, 20, 1, 8, 9, 11), row(4, 22, 1, 10, 11, 13), row(0, 1, 1, 1, 1, 1)]) + "\n")
    assert plot_bench.read_users([history]) == {2: {"rate": 10, "failed": 0, "50%": 5, "90%": 6, "99%": 7},
                                                4: {"rate": 21, "failed": 1, "50%": 9, "90%": 10, "99%": 12}}
    subprocess.run([sys.executable, ROOT / "tools/plot_bench.py", tmp_path / "x", history], check=True, capture_output=True)
    assert (tmp_path / "x-users.png").read_bytes().startswith(b"\x89PNG") and "users" in (tmp_path / "x-users.svg").read_text()
    history.write_text(HEAD + "\n")
    done = subprocess.run([sys.executable, ROOT / "tools/plot_bench.py", tmp_path / "y", history], capture_output=True, text=True)
    assert done.returncode == 2 and "no second with users" in done.stderr
