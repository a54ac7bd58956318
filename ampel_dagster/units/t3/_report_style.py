"""The page around the contents: one file that needs nothing else and runs no script but ours."""

from base64 import b64encode
from hashlib import sha256

from ampel_dagster.units.t3._report_bands import DARK, LIGHT, variables
from ampel_dagster.units.t3._report_text import esc

_CSS = f"""
:root{{color-scheme:light dark;--page:#fff;--card:#f5f6f8;--text:#1a1d23;--muted:#59616e;--line:#d5d9e0;
--link:#0b57b0;{variables(LIGHT)}}}
@media (prefers-color-scheme:dark){{:root{{--page:#14171c;--card:#1d2128;--text:#e7e9ed;--muted:#a3abb8;
--line:#3a414c;--link:#8ab8ff;{variables(DARK)}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;max-width:1400px;padding:1rem 1.25rem 3rem;background:var(--page);color:var(--text);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;overflow-wrap:anywhere}}
a{{color:var(--link)}}
h1{{font-size:1.65rem;line-height:1.2;margin:.4rem 0 .2rem}}
h2{{font-size:1.15rem;margin:1.8rem 0 .6rem}}
h3{{font-size:1rem;margin:0 0 .2rem}}
p{{margin:.3rem 0}}
code{{font:.88em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}}
.muted,.none,figcaption,caption{{color:var(--muted)}}
.muted b{{display:inline-block}}
.small{{font-size:.87rem}}
.links a{{margin-right:.9rem;white-space:nowrap;display:inline-block}}
nav{{display:flex;flex-wrap:wrap;gap:.1rem 1.2rem;font-size:.93rem}}nav a{{padding:.15rem 0}}
dl{{margin:0}}dd{{margin:0}}dt{{color:var(--muted);font-size:.83rem}}
dl.facts{{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:.6rem;margin:.9rem 0}}
dl.facts>div{{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.5rem .7rem}}
dl.facts dd{{font-size:1.2rem;font-weight:600;line-height:1.3}}
dl.facts small{{display:block;font-size:.82rem;font-weight:400;color:var(--muted)}}
dl.origin>div{{display:grid;grid-template-columns:minmax(8rem,14rem) 1fr;gap:.1rem 1rem;padding:.3rem 0;
border-bottom:1px solid var(--line)}}
dl.origin dt{{font-size:.9rem}}
.scroll{{overflow-x:auto;max-width:100%;margin:.5rem 0}}
.scroll:focus-visible,button:focus-visible,a:focus-visible,summary:focus-visible{{
outline:2px solid var(--link);outline-offset:2px}}
table{{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;overflow-wrap:normal}}
caption{{text-align:left;padding:.2rem 0}}
th,td{{text-align:left;padding:.28rem .5rem;border-bottom:1px solid var(--line);vertical-align:middle}}
th{{font-weight:600;white-space:nowrap;vertical-align:bottom}}
th small{{max-width:9rem;white-space:normal!important}}
td.num{{white-space:nowrap}}
td.name{{min-width:9.5rem;max-width:15rem;overflow-wrap:anywhere}}
td code{{white-space:nowrap}}
td.long{{min-width:12rem;overflow-wrap:anywhere}}
td small,th small{{display:block;font-weight:400;color:var(--muted);white-space:nowrap}}
table.sortable{{width:100%}}
table.overview{{width:auto;min-width:min(38rem,100%)}}
table.overview td small{{white-space:normal}}
td.night a{{display:inline-block;white-space:nowrap;padding:.15rem 0}}
table.sortable th{{padding:0}}
table.sortable th button{{all:unset;box-sizing:border-box;width:100%;padding:.35rem .5rem;cursor:pointer}}
table.sortable th button:hover{{text-decoration:underline}}
table.sortable th button:focus-visible{{outline:2px solid var(--link)}}
table.sortable th[aria-sort=ascending] button::after{{content:" \\2191";color:inherit}}
table.sortable th[aria-sort=descending] button::after{{content:" \\2193";color:inherit}}
table.sortable tbody tr:hover{{background:var(--card)}}
svg.spark{{display:block}}
.spark path{{fill:none;stroke-linecap:round;stroke-width:4.4}}
.spark path.limit{{stroke-width:1.2;opacity:.7}}
.spark path.dip{{stroke-width:1.6;stroke-linecap:butt}}
.sign{{width:.85em;height:.85em;margin-right:.35em;vertical-align:-.08em;overflow:visible}}
.legend{{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;margin:0}}
svg.light-curve{{display:block;width:100%;max-width:900px;height:auto;overflow:visible;color:var(--text)}}
svg.light-curve *{{stroke-linejoin:round;stroke-linecap:butt}}
.main{{display:grid;grid-template-columns:minmax(0,1fr) 360px;gap:1.2rem 1.8rem;align-items:start}}
figure{{margin:0}}
.cutouts{{display:grid;grid-template-columns:repeat(3,1fr);gap:.5rem}}
.cutouts img,.unreadable{{width:100%;height:auto;aspect-ratio:1;image-rendering:pixelated;
border:1px solid var(--line)}}
.unreadable{{display:grid;place-items:center;color:var(--muted);font-size:.85rem;background:var(--card)}}
figcaption{{font-size:.83rem}}
.place{{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:.8rem;margin:.8rem 0}}
.finder,.map{{display:block;width:100%;height:auto;border:1px solid var(--line)}}
.finder image{{image-rendering:pixelated}}.finder path{{fill:none;stroke:#000;stroke-width:2}}
.finder path.over{{stroke:#fd0;stroke-width:.9}}
.finder text{{font-size:5px;fill:#fd0;stroke:#000;stroke-width:.9;paint-order:stroke}}
.map path.axes,.map circle{{fill:none;stroke:var(--line)}}.map g{{opacity:.8}}
.map text{{font-size:11px;fill:var(--muted)}}
.products{{columns:3 370px;column-gap:1.2rem}}
aside th,aside td{{padding:.28rem .45rem}}aside table{{width:100%}}
.product{{break-inside:avoid;background:var(--card);border:1px solid var(--line);border-radius:8px;
padding:.6rem .8rem;margin:0 0 1rem}}
.product table{{width:100%}}.product tr:last-child>*{{border-bottom:0}}
.product th{{font-weight:400;color:var(--muted);padding-left:0;width:45%;white-space:normal;
vertical-align:top}}
summary{{cursor:pointer}}
footer{{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:.5rem}}
@media (max-width:900px){{.main{{grid-template-columns:minmax(0,1fr)}}
body{{padding:.8rem .8rem 2rem}}
dl.facts{{grid-template-columns:repeat(2,minmax(0,1fr))}}
dl.origin>div{{grid-template-columns:1fr}}}}
@media (max-width:600px){{svg.light-curve text{{font-size:10.4px!important}}
dl.facts dd{{font-size:1.06rem}}
table.sortable td.name>a{{display:inline-block;padding:.15rem 0}}
table.sortable th:first-child,table.sortable td:first-child{{position:sticky;left:0;background:var(--page)}}}}
@media print{{nav,summary{{display:none}}}}
"""

_JS = """
for (const table of document.querySelectorAll("table.sortable")) {
  const key = (row, column) => row.cells[column].dataset.s ?? row.cells[column].textContent.trim();
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("th");
    if (!head || !event.target.closest("button")) return;
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const compare = (one, two) => {
      const a = key(one, head.cellIndex), b = key(two, head.cellIndex);
      if (a === "" || b === "") return (a === "") - (b === "");
      const difference = Number(a) - Number(b);
      return sign * (Number.isNaN(difference) ? a.localeCompare(b) : difference);
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  });
}
"""
#: The only script that a browser may run on these pages, should a hostile name ever get past the escaping.
_JS_HASH = b64encode(sha256(_JS.encode()).digest()).decode()
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    f"script-src 'sha256-{_JS_HASH}'"
)


def page(title: str, body: str) -> str:
    """A whole HTML page; `title` is plain text, `body` is HTML."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{esc(title)}</title>
<style>{_CSS}</style>
</head>
<body>
{body}
<script>{_JS}</script>
</body>
</html>
"""
