"""The dashboard's files as a browser gets them, and what its lists ask of the API."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from labd.api.web import WebFiles
from tests.fakes.api_door import House, open_house

HTML = {"Accept": "text/html,*/*"}


async def test_the_start_page_is_for_browsers_and_names_every_file(state_dir: Path) -> None:
    async with open_house(state_dir) as house:
        assert (await house.client.ask("GET", "/")).json["docs"] == "/docs"
        page = await house.client.ask("GET", "/", headers=HTML)
        text = page.body.decode()
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-cache"
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; ")
        assert "unsafe" not in policy
        assert "@" not in text
        assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=", text)
        names = re.findall(r'(?:src|href)="(/web/[^"]+)"', text)
        assert len(names) > 20
        for name in names:
            file = await house.client.ask("GET", name)
            assert (file.status, file.headers["cache-control"]) == (200, "public, max-age=31536000, immutable"), name
            assert file.headers["x-content-type-options"] == "nosniff"


async def test_a_file_is_packed_and_sent_once(state_dir: Path) -> None:
    async with open_house(state_dir) as house:
        await house.client.ask("GET", "/", headers=HTML)
        plain = await house.client.ask("GET", "/web/0/js/dom.js")
        assert plain.headers["cache-control"] == "no-cache"  # the stamp is another labd's
        packed = await house.client.ask("GET", "/web/0/js/dom.js", headers={"Accept-Encoding": "gzip"})
        assert gzip.decompress(packed.body) == plain.body
        assert plain.headers["etag"] != packed.headers["etag"]
        known = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["etag"]}
        again = await house.client.ask("GET", "/web/0/js/dom.js", headers=known)
        assert (again.status, again.body) == (304, b"")


async def test_no_other_file_is_served(state_dir: Path) -> None:
    async with open_house(state_dir) as house:
        for name in ("index.html", "../api/web.py", "%2e%2e/api/web.py", "js", "x.js"):
            assert (await house.client.ask("GET", f"/web/0/{name}")).status == 404, name


async def test_the_stamp_is_that_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "index.html").write_text("@stamp@ @pages@ @preloads@")
    (tmp_path / "pages" / "one.js").write_text("1")
    still, watching = WebFiles(tmp_path), WebFiles(tmp_path, watch=True)
    still.load()
    watching.load()
    first = watching.stamp
    (tmp_path / "pages" / "two.js").write_text("2")
    still.load()
    watching.load()
    assert still.stamp == first != watching.stamp
    page = watching.assets["index.html"].text.decode()
    assert page.startswith(f"{watching.stamp} one two <link")
    assert f"/web/{watching.stamp}/pages/two.js" in page


async def test_a_list_is_bounded_from_below_and_brief(state_dir: Path) -> None:
    async with open_house(state_dir) as house:
        first = await _add(house, {"a": 1})
        assert (await house.client.ask("GET", "/api/v1/jobs/span")).json["lowest"] == first
        last = [await _add(house, {"a": number}) for number in range(2, 5)][-1]
        span = (await house.client.ask("GET", "/api/v1/jobs/span")).json
        assert (span["lowest"], span["highest"]) == (first, last)
        page = (await house.client.ask("GET", f"/api/v1/jobs?lowest={last - 1}&brief=true")).json
        assert [(job["id"], job["result"]) for job in page["jobs"]] == [(last, None), (last - 1, None)]
        whole = (await house.client.ask("GET", f"/api/v1/jobs?lowest={last}")).json
        assert whole["jobs"][0]["result"] == 5
        assert (await house.client.ask("GET", "/api/v1/jobs?held=true")).json["jobs"] == []
        assert (await house.client.ask("GET", "/api/v1/jobs?schedule=nightly")).json["jobs"] == []
        assert len((await house.client.ask("GET", "/api/v1/jobs?held=false")).json["jobs"]) == 4


async def test_no_jobs_have_no_span(state_dir: Path) -> None:
    async with open_house(state_dir) as house:
        span = (await house.client.ask("GET", "/api/v1/jobs/span")).json
        assert (span["lowest"], span["highest"], span["states"]["queued"]) == (0, 0, 0)


async def _add(house: House, args: dict[str, int]) -> int:
    made = (await house.client.ask("POST", "/api/v1/jobs", {"task": "test.add", "args": args})).json
    ended = (await house.client.ask("GET", f"/api/v1/jobs/{made['id']}?wait=5")).json
    assert ended["state"] == "succeeded"
    return int(made["id"])
