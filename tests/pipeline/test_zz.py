import importlib.util, sys, json
from itertools import count
from pathlib import Path

spec = importlib.util.spec_from_file_location("tc", Path(__file__).with_name("test_crash.py"))
tc = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tc)
worker = tc.worker
ingest = tc.ingest
files = tc.files


def diff(exp, got):
    for name in exp:
        if name == "journal":
            if exp[name] != got[name]:
                print("journal", set(exp[name]) ^ set(got[name]))
            continue
        for i in {*exp[name], *got[name]}:
            a, b = exp[name].get(i), got[name].get(i)
            if a != b:
                print(
                    name, i, {k: (a.get(k), b.get(k)) for k in {*a, *b} if a.get(k) != b.get(k)} if a and b else (a, b)
                )


def test_a(lab, ingest, files):
    for earlier in (0, 1):
        order = {"paths": files, "channels": tc.ALL_AND_FEW}
        few = {"paths": files, "channels": ["FEW"], "run": "few"}

        def begin():
            lab.wipe()
            if earlier:
                ingest(few)

        begin()
        ingest({**order, "run": "u"})
        exp = tc.content(lab)
        for how in ("before", "within"):
            for n in count(1):
                begin()
                e = ingest({**order, "run": "k", how: n})
                if e == [0]:
                    break
                st = [(d["_id"], d["state"]) for d in lab.store.database["batch"].find()]
                ingest({**order, "run": "again"})
                print("-----", earlier, how, n, e, st)
                diff(exp, tc.content(lab))
            print(how, "last", n, e)
    assert 0
