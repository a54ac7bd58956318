"""T2 result to sent message: how long it takes while `ampel-dagster dev` runs, with its daemon and sensors.

    python bench/react.py --rounds 3

A server on loopback notes when messages arrive. Each round drops a file with a few simulated packets into the landing
folder; a message's latency is the time from the time stamp of the last T2 result of its object to its arrival. The time
from the file to the message, and how long the reaction takes by itself, are told too.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from time import monotonic, sleep, time
from typing import Any

from ampel_dagster.config.instance import copy_demo
from ampel_dagster.storage.server import EmbeddedServer
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import make_alert, write_archive

UNIT = '''
import json, os
from urllib.request import Request, urlopen
from ampel_dagster.units.base import Publisher

class BenchPost(Publisher):
    """Posts a name."""

    def send(self, view, context):
        request = Request(os.environ["BENCH_URL"], json.dumps({"stock": view.stock}).encode())
        with urlopen(request, timeout=self.timeout_s) as answer:
            return answer.read().decode()
'''
#: Start of an exposure in the night of 2018-08-19; files of this night may come at any time.
JD = 2458349.7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--objects", type=int, default=5, help="objects in each file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-react-") as name:
        folder = Path(name)
        instance = make_instance(folder)
        server = EmbeddedServer(instance)
        arrived: dict[int, float] = {}
        receiver = listen(arrived)
        environment = {
            **os.environ,
            "AMPEL_INSTANCE": str(instance),
            "AMPEL_MONGO_URI": server.start(),
            "BENCH_URL": f"http://127.0.0.1:{receiver.server_port}/",
            "PYTHONPATH": os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")]),
        }
        command = [sys.executable, "-m", "ampel_dagster", "dev", "--port", "3987"]
        with (folder / "dev.log").open("w") as log:
            dev = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        store = Store.open(environment["AMPEL_MONGO_URI"], "ampel")
        try:
            found = [measure(instance, store, arrived, n, options.objects) for n in range(options.rounds)]
        finally:
            os.killpg(dev.pid, signal.SIGTERM)
            dev.wait(60)
            store.close()
            receiver.shutdown()
            server.stop()
    print(json.dumps(found, indent=2))
    print(f"median: result to message {median(r['result_to_message_s'] for r in found):.1f} s", file=sys.stderr)


def make_instance(folder: Path) -> Path:
    """The demo with one process that posts."""
    instance, info = folder / "instance", folder / "site" / "bench_unit-1.0.dist-info"
    copy_demo(instance)
    info.mkdir(parents=True)
    (folder / "site" / "bench_unit.py").write_text(UNIT)
    (info / "entry_points.txt").write_text("[ampel_dagster.units]\nBenchPost = bench_unit:BenchPost\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-unit\nVersion: 1.0\n")
    (instance / "t3" / "post.yaml").write_text("units: [{unit: BenchPost}]\ntrigger: {on: t2}\n")
    (instance / "channels" / "POST.yaml").write_text("channel: POST\nztf: {t2: [light_curve_summary]}\nt3: [post]\n")
    (instance / "landing").mkdir(exist_ok=True)
    return instance


def listen(arrived: dict[int, float]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            arrived[message["stock"]] = time()
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def measure(instance: Path, store: Store, arrived: dict[int, float], number: int, objects: int) -> dict[str, float]:
    """One file: wait until all of its objects were told about."""
    names = [f"ZTF18{chr(97 + number)}aaaaa{chr(97 + n)}" for n in range(objects)]
    alerts = [make_alert(name=name, jd=JD, tblid=100 * number + n, cutouts=False) for n, name in enumerate(names)]
    before, end = set(arrived), monotonic() + 300
    dropped = time()
    write_archive(instance / "landing" / f"{number}.tar.gz", alerts)
    while len(set(arrived) - before) < objects:
        if monotonic() > end:
            raise SystemExit(f"only {len(set(arrived) - before)} of {objects} messages came")
        sleep(0.1)
    mine = set(arrived) - before
    results = store.survey("ztf").results.collection.find({"stock": {"$in": list(mine)}}, {"stock": 1, "meta.ts": 1})
    ready: dict[int, float] = {}
    for d in results:
        ready[d["stock"]] = max(ready.get(d["stock"], 0.0), d["meta"]["ts"].timestamp())
    reaction = store.reactions.list(process="post")[0]
    return {
        "result_to_message_s": round(max(arrived[stock] - ready[stock] for stock in mine), 2),
        "file_to_message_s": round(max(arrived[stock] for stock in mine) - dropped, 2),
        "reaction_s": round((reaction["ended"] - reaction["began"]).total_seconds(), 3),
    }


if __name__ == "__main__":
    main()
