"""Views as files, for programs elsewhere and for later."""

import gzip
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from pydantic import Field

from ampel_dagster.model.view import Artefact, ReactionContext, TransientView
from ampel_dagster.units.base import Report
from ampel_dagster.units.t3._files import write_text, write_whole
from ampel_dagster.units.t3._message import light_curve_rows, plain, record


class FileArchive(Report):
    """Write each object as one JSON line (`objects.jsonl.gz`), with a manifest that names file, hash and number.

    A line holds who and where the object is, its tags, alerts and states, all T2 results with their version and run,
    and the light curve. The same objects give the same file, byte by byte. `manifest.json` has `file`, `sha256`,
    `bytes`, `objects`, `process`, `channel`, `night`, `run`, `written` (UTC).
    """

    light_curves: bool = Field(True, description="write the light curves, too")
    t2: bool = Field(True, description="write the T2 results, too")

    def write(self, views: Sequence[TransientView], context: ReactionContext) -> Sequence[Artefact]:
        """Write file and manifest."""
        lines = [json.dumps(self._line(view, context), sort_keys=True, ensure_ascii=False) for view in views]
        # Without name and time in its head, equal content is an equal file.
        content = gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)
        path, manifest = context.folder / "objects.jsonl.gz", context.folder / "manifest.json"
        write_whole(path, lambda temporary: temporary.write_bytes(content))
        about = {
            "file": path.name,
            "sha256": sha256(content).hexdigest(),
            "bytes": len(content),
            "objects": len(views),
            "process": context.process,
            "channel": context.channel,
            "night": context.night,
            "run": context.run,
            "written": context.now.isoformat(timespec="seconds"),
        }
        write_text(manifest, json.dumps(about, indent=2) + "\n")
        title = f"Objects of {context.channel}, {context.night}"
        return [Artefact(path, title, len(views)), Artefact(manifest, f"{title} (manifest)", len(views))]

    def _line(self, view: TransientView, context: ReactionContext) -> dict[str, Any]:
        line = record(view, context, ())
        del line["values"], line["run"]
        line |= {"tags": list(view.tag), "alerts": list(view.alerts), "states": list(view.states)}
        if self.t2:
            line["t2"] = {name: plain(_result(result)) for name, result in sorted(view.t2.items())}
        if self.light_curves:
            line["light_curve"] = light_curve_rows(view)
        return line


def _result(result: Any) -> dict[str, Any]:
    return {"unit": result.unit, "version": result.version, "code": result.code, "body": result.body, "run": result.run}
