"""The run page: complete in itself, right at every moment, behind the token, and without a person on it."""

from __future__ import annotations

import re
import shlex
import sys
from html.parser import HTMLParser
from typing import Any

from dataflows.runs.journal import Item, Journal
from tests.flows.patients.world import registration, written
from tests.processes import gated, until
from tests.test_canary import Canaries
from tests.web.world import TOKEN, Answer, Served, World

COOKIE = re.compile(r"dataflows_runs=([^;]+); HttpOnly; Max-Age=43200; Path=/; SameSite=strict")


class Page(HTMLParser):
    """What a browser would find: tags with their attributes, and the text."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.refresh = answer.headers.get("refresh")
        """After how many seconds it loads itself again."""
        self.feed(answer.body.decode())

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def entered(served: Served, token: str = TOKEN) -> str:
    """Show the token once; returns the cookie."""
    answer = served.call("POST", "/runs/enter", fields={"token": token}, encode_multipart=False)
    assert (answer.status, answer.headers["location"]) == (303, "/runs")
    found = COOKIE.fullmatch(answer.headers["set-cookie"])
    assert found is not None
    return f"dataflows_runs={found[1]}"


def page(served: Served, path: str = "/runs", **headers: str) -> Page:
    answer = served.get(path, Cookie=entered(served), **headers)
    assert answer.status == 200
    return Page(answer)


def test_the_token_is_asked_for_once(served: Served) -> None:
    asked = served.get("/runs")
    assert asked.status == 401
    assert [one["type"] for one in Page(asked).all("input")] == ["password"]
    wrong = served.call("POST", "/runs/enter", fields={"token": "wrong"}, encode_multipart=False)
    assert (wrong.status, "set-cookie" in wrong.headers) == (401, False)
    assert "That is not the token." in Page(wrong).text
    cookie = entered(served)
    assert TOKEN not in cookie
    assert served.get("/runs", Cookie=cookie).status == 200
    left = served.post("/runs/leave", Cookie=cookie)
    assert left.headers["set-cookie"].startswith('dataflows_runs=""; ')


def test_it_loads_nothing_and_runs_no_script(served: Served) -> None:
    answer = served.get("/runs", Cookie=entered(served))
    found = Page(answer)
    assert {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object"} == set()
    addresses = [one.get(name) or "" for _, one in found.tags for name in ("href", "src", "action")]
    assert all(one.startswith("/") for one in addresses if one)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'nonce-{found.all('style')[0]['nonce']}'" in policy


def test_a_keyboard_and_a_screen_reader_find_their_way(served: Served) -> None:
    found = Page(served.get("/runs"))
    assert found.all("html") == [{"lang": "en-GB"}]
    assert [one["for"] for one in found.all("label")] == [one["id"] for one in found.all("input")]
    assert "autofocus" in found.all("input")[0]


def test_progress_is_live_and_calm_when_nothing_runs(world: World) -> None:
    with world.serving() as served:
        assert page(served).refresh == "30"
        with gated(world.directory, after=15) as gate:
            served.upload("/batch/upload-csv", world.write(40))
            gate.wait()
            until(lambda: bool(page(served).all("progress")), "the bar is there")
            found = page(served)
            assert found.refresh == "2"
            assert 0 <= float(found.all("progress")[0]["value"] or -1) < 100
            gate.open()
        until(lambda: page(served).refresh == "30", "it ends")
        assert "40 done" in page(served).text


def test_failures_with_what_to_do(world: World) -> None:
    world.directory.faults.set(error_share=1.0)
    with world.serving() as served:
        served.upload("/hospitals/bulk", world.write(3))
        found = page(served)
        assert "Interrupted, can be resumed" in found.text
        links = {one["href"] or "" for one in found.all("a")}
        [link] = {one for one in links if re.fullmatch(r"/runs/[0-9a-f-]{36}", one)}
        detail = page(served, link)
    assert "the Hospital Directory" in detail.text
    assert f"{shlex.quote(sys.executable)} -m dataflows runs resume {link.rpartition('/')[2][:8]}" in detail.text


def test_many_failures_are_counted_and_texts_are_escaped(world: World) -> None:
    journal = Journal.open(world.data)
    run_id = journal.start("cqc-fetch", "folder", options={})
    journal.record(run_id, [Item(f"{at:03}", "failed", 1, "code", f"<b>{at}</b>") for at in range(150)])
    journal.finish(run_id, "partial", 3, {"done": 1, "failed": 150}, None)
    journal.close()
    with world.serving() as served:
        listed, detail = page(served), page(served, f"/runs/{run_id}")
        assert served.get("/runs/550e8400-e29b-41d4-a716-446655440000", Cookie=entered(served)).status == 404
    assert "147 more" in listed.text
    assert "50 more" in detail.text
    assert detail.text.count("<b>") == 100
    assert not detail.all("b")


def ended(world: World) -> bool:
    """Whether a run has been there and has ended."""
    states = [run["status"] for run in world.run("runs", "list", "--json")["items"]]
    return bool(states) and "running" not in states


def test_no_person_is_on_it_nor_on_what_else_tells_of_runs(world: World) -> None:
    canaries = Canaries()
    body = registration(canaries.word("vorname"), canaries.word("nachname"), geburtsdatum=canaries.word("geburtsdatum"))
    name = f"{canaries.word('name')}_{canaries.word('first')}_2025-07-05_0b1ab67b.json"
    world.box.bucket.put(name, written(body))
    world.box.bucket.put(canaries.word("unrecognised"), b"{}")
    with world.serving("--watch", "patients") as served:
        until(lambda: ended(world), "the pass ends")
        cookie = entered(served)
        paths = ("/runs", "/health/import", "/metrics")
        said = {path: served.get(path, Cookie=cookie, X_Auth_Token=TOKEN).body for path in paths}
        listed = Page(served.get("/runs", Cookie=cookie))
        links = {link for one in listed.all("a") if (link := one["href"] or "").startswith("/runs/")}
        links |= {f"{link}/{more}" for link in links - {"/runs/history"} for more in ("log", "failed.csv")}
        said |= {link: served.get(link, Cookie=cookie).body for link in links}
        assert len(said) > len(paths) + 3
        served.process.interrupt()
        said["stderr"] = served.process.ended().err.encode()
    assert canaries.found(said) == []
