"""The variants in a real browser: one Chromium, a page behind each proxy, many fetches by one script.

Rules of this file: a page is of the origin that serves the variants, so that its scripts may read every answer; what
had arrived before a failure counts as received; downloads are asked for where a script may see less than a user gets.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import batched
from pathlib import Path

from tests.clients.browser import Chromium, Page
from tests.http.proxy import Proxy
from tests.http.variants.clients import PATIENCE, Got

HOME = "/page"  # the path of the page
PAGE = b"<!DOCTYPE html><title>variants</title><link rel=icon href=data:,>"
BATCH = 60  # fetches by one script: it has to end before DevTools loses its patience

# What came before an error is kept: a page can show that, too.
_FETCH = """(async (paths, patience, lanes) => {
  const text = piece => Array.from(piece, byte => String.fromCharCode(byte)).join('');
  const take = async path => {
    const stop = new AbortController(), timer = setTimeout(() => stop.abort(), patience);
    let status = 0, whole = false, body = '';
    try {
      const answer = await fetch(path, {cache: 'no-store', signal: stop.signal});
      status = answer.status;
      const reader = answer.body?.getReader();
      for (let got; reader && !(got = await reader.read()).done;) body += text(got.value);
      whole = true;
    } catch { /* an end like another */ } finally { clearTimeout(timer); }
    return [status, btoa(body), whole];
  };
  const answers = [], queue = [...paths.entries()];
  const work = async () => {
    for (let next; next = queue.shift();) answers[next[0]] = await take(next[1]);
  };
  await Promise.all(Array.from({length: lanes}, work));
  return answers;
})"""


@contextmanager
def page_behind(browser: Chromium, proxy: Proxy, origin: str) -> Iterator[Page]:
    """A page of the origin, which comes through the proxy."""
    with tempfile.TemporaryDirectory() as folder, browser.page(proxy, Path(folder)) as page:
        page.open(origin + HOME)
        yield page


def fetch_all(page: Page, paths: Sequence[str]) -> list[Got]:
    """What scripts on the page get from each path; six at a time, as many as Chromium asks a server for."""
    answers = []
    for some in batched(paths, BATCH, strict=False):
        answers += page.run(f"{_FETCH}({json.dumps(some)}, {PATIENCE * 1000:.0f}, 6)")
    return [Got(status, base64.b64decode(body), whole) for status, body, whole in answers]


def navigate(page: Page, url: str) -> Got:
    """What a user gets who follows a link there: a file if Chromium takes it for a download, else what is shown."""
    page.tools.events.clear()
    went = page.tools.call("Page.navigate", page.session, url=url)
    if not went.get("isDownload"):
        if "errorText" in went:
            return Got()
        page.tools.wait_for("Page.loadEventFired")
        shown: str = page.run("document.documentElement.outerHTML")
        return Got(200, shown.encode(), whole=True)
    guid = page.tools.wait_for("Browser.downloadWillBegin", lambda told: told["url"] == url)["guid"]
    over = page.tools.wait_for(
        "Browser.downloadProgress", lambda told: told["guid"] == guid and told["state"] != "inProgress"
    )
    left = [file for file in page.folder.iterdir() if file.name.startswith(guid)]
    body = b"".join(file.read_bytes() for file in left)
    return Got(200, body, whole=over["state"] == "completed")
