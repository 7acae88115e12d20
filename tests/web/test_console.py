"""The console's pages: tonight whatever midnight says, all about one run, and the nights before it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from dataflows.runs.history import Night, RunHistory, Wanted
from dataflows.runs.journal import Journal
from dataflows.runs.schedules import InstalledJobs, Recurrence
from dataflows.web.views import calendar_of, morning_of
from tests.web.nights import HINT, ago, ran
from tests.web.served import TOKEN, Answer, Within, within
from tests.web.test_pages import Page

UNKNOWN = "550e8400-e29b-41d4-a716-446655440000"


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Within]:
    with within(tmp_path_factory.mktemp("console")) as served:
        yield served


@pytest.fixture
def journal(console: Within) -> Iterator[Journal]:
    """The journal of the server, empty."""
    with closing(Journal.open(console.context.settings.data_dir)) as opened:
        with opened.transaction() as db:
            for table in ("runs", "items", "run_reports", "run_batches"):
                db.execute(f"DELETE FROM {table}")
        yield opened


class Read(Page):
    """A page, with its text in one line."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)  # type: ignore[arg-type]
        self.refresh = answer.headers["Refresh"]
        self.text = " ".join(self.text.split())

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    def links(self, beginning: str) -> list[str]:
        return [href for one in self.all("a") if (href := one["href"] or "").startswith(beginning)]


def read(console: Within, path: str) -> Read:
    answer = console.get(path)
    assert answer.status == 200, answer.body
    return Read(answer)


# --- tonight ----------------------------------------------------------------------------------------------------------


def test_a_run_over_midnight_is_there_for_24_hours_whatever_the_date(console: Within, journal: Journal) -> None:
    ran(journal, "cqc-fetch", ago(hours=24, minutes=10), minutes=38)
    ran(journal, "csc-submit", ago(hours=30), minutes=5)
    found = read(console, "/runs")
    assert "all is well with the one job" in found.text
    assert "cqc-fetch" in found.text
    assert "csc-submit" not in found.text


def test_what_waits_to_be_resumed_is_there_however_many_came_later(console: Within, journal: Journal) -> None:
    old = ran(journal, "therapist-import", ago(days=9), state="resumable")
    for at in range(205):
        ran(journal, "cqc-fetch", ago(hours=20, minutes=-at))
    found = read(console, "/runs")
    assert "Interrupted, can be resumed" in found.text
    assert f"dataflows runs resume {old[:8]}" in found.text
    assert "Further runs are in the history" in found.text
    assert len(set(found.links("/runs/")) - {"/runs/history"}) == 200


def test_what_needs_a_person_comes_first_with_why_and_what_to_do(console: Within, journal: Journal) -> None:
    ran(journal, "cqc-fetch", ago(hours=2))
    ran(journal, "patient-import", ago(hours=3), state="failed", done=0)
    ran(journal, "csc-submit", ago(hours=28), state="partial", failures=[("1", "refused", "why")])
    ran(journal, "csc-submit", ago(hours=4), state="partial", failures=[("1", "refused", "why")])
    found = read(console, "/runs")
    assert "Tonight: 1 of 3 jobs needs you" in found.text
    jobs = found.text.partition("Ended in")[0]
    places = [jobs.index(word) for word in ("needs you patient-import", HINT, "as before csc-submit", "well cqc-fetch")]
    assert places == sorted(places)


def test_a_warning_that_is_new_brings_its_hint(console: Within, journal: Journal) -> None:
    ran(journal, "csc-submit", ago(hours=1), state="partial", warnings=["40 of 100 children are Deleted"])
    jobs = read(console, "/runs").text.partition("Ended in")[0]
    assert "40 of 100 children are Deleted look at it" in jobs


def test_what_was_interrupted_says_so_and_how_to_go_on(console: Within, journal: Journal) -> None:
    run_id = ran(journal, "csc-submit", ago(hours=1), state="resumable")
    jobs = read(console, "/runs").text.partition("Interrupted, can be resumed")[0]
    assert "It was interrupted before its end." in jobs
    assert f"dataflows runs resume {run_id[:8]}" in jobs


def test_an_installed_job_that_did_not_begin_is_missing(console: Within, journal: Journal) -> None:
    jobs = InstalledJobs(journal)
    jobs.add("nightly", "csc-submit", Recurrence(every="1h"))
    try:
        with journal.transaction() as db:
            db.execute("UPDATE schedules SET installed_at = ?", (ago(days=3).isoformat(),))
        found = read(console, "/runs")
    finally:
        jobs.remove("nightly")
    assert "missing nightly" in found.text
    assert "it never ran" in found.text
    assert "check the machine's scheduler" in found.text


def test_a_dry_run_is_marked_and_is_no_job(console: Within, journal: Journal) -> None:
    run_id = ran(journal, "csc-submit", ago(hours=1), options={"dry_run": True})
    for path in ("/runs", f"/runs/{run_id}", "/runs/history"):
        assert "dry run" in read(console, path).text
    assert "no job ran" in read(console, "/runs").text
    assert "would send 10" in read(console, f"/runs/{run_id}").text


def test_reloading_can_be_stopped(console: Within, journal: Journal) -> None:
    assert read(console, "/runs").refresh == "30"
    stopped = read(console, read(console, "/runs").links("/runs?reload")[0])
    assert stopped.refresh is None
    assert "load this page again every 30 s" in stopped.text


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_run_says_all_that_is_known_of_it(console: Within, journal: Journal, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("a line of its log <script>\n", encoding="utf-8")
    before = ran(journal, "csc-submit", ago(days=1), state="partial", failures=[("7", "old", "gone by now")])
    run_id = ran(
        journal, "csc-submit", ago(hours=1), state="failed", log=log,
        failures=[("8", "refused", "not taken")], warnings=["40 of 100 children are Deleted"],
    )  # fmt: skip
    after = ran(journal, "csc-submit", ago(minutes=10))
    found = read(console, f"/runs/{run_id}")
    for said in (
        "the far side does not answer [service-down]", HINT, "40 of 100 children are Deleted", "look at it",
        "rows 10", "new: 8 refused", "gone: 7 old", "1 new failed items, 1 gone, 0 as before",
        "a line of its log <script>",
    ):  # fmt: skip
        assert said in found.text
    assert {f"/runs/{before}", f"/runs/{after}", f"/runs/{run_id}/log"} <= set(found.links("/runs/"))
    whole = console.get(f"/runs/{run_id}/log")
    assert (whole.status, whole.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert whole.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert whole.body == b"a line of its log <script>"


def test_failed_items_that_are_new_stand_by_number(console: Within, journal: Journal) -> None:
    ran(journal, "csc-submit", ago(hours=2))
    run_id = ran(journal, "csc-submit", ago(hours=1), state="partial", failures=[(key, "", "") for key in ("10", "9")])
    assert re.findall(r"new: (\d+)", read(console, f"/runs/{run_id}").text) == ["9", "10"]


def test_failed_items_by_code_text_and_page_and_as_csv(console: Within, journal: Journal) -> None:
    failures = [(f"{row}", "refused" if row % 3 else "unreadable", f"=row {row}") for row in range(1, 151)]
    run_id = ran(journal, "csc-submit", ago(hours=1), state="partial", failures=failures)
    first = read(console, f"/runs/{run_id}")
    assert "unreadable (50)" in first.text
    [link] = first.links(f"/runs/{run_id}?after=")
    rest = read(console, link)
    assert "=row 101" in rest.text
    assert "=row 100 " not in f"{rest.text} "
    chosen = read(console, f"/runs/{run_id}?code=unreadable&text=ROW+15")
    assert re.findall(r"=row (\d+)", chosen.text) == ["15", "150"]
    [csv_link] = chosen.links(f"/runs/{run_id}/failed.csv")
    answer = console.get(csv_link)
    assert 'filename="csc-submit-' in answer.headers["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(answer.body.decode("utf-8-sig"))))
    assert rows == [["item", "code", "message"], ["15", "unreadable", "'=row 15"], ["150", "unreadable", "'=row 150"]]
    everything = console.get(f"/runs/{run_id}/failed.csv").body
    assert everything.startswith(b"\xef\xbb\xbfitem")
    assert everything.count(b"\r\n") == 151


def test_pages_downloads_and_logs_ask_for_the_token_and_a_cookie_opens_them(
    console: Within, journal: Journal, tmp_path: Path
) -> None:
    log = tmp_path / "b.log"
    log.write_text("line", encoding="utf-8")
    run_id = ran(journal, "csc-submit", ago(hours=1), state="partial", failures=[("1", "code", "why")], log=log)
    paths = ("/runs", "/runs/history", f"/runs/{run_id}", f"/runs/{run_id}/failed.csv", f"/runs/{run_id}/log")
    assert {console.get(path, X_Auth_Token="").status for path in paths} == {401}
    form = f"token={TOKEN}".encode()
    entered = console.post("/runs/enter", form, content_type="application/x-www-form-urlencoded", X_Auth_Token="")
    cookie = entered.headers["Set-Cookie"].partition(";")[0]
    assert {console.get(path, X_Auth_Token="", Cookie=cookie).status for path in paths} == {200}


def test_what_is_not_there_is_404(console: Within, journal: Journal) -> None:
    run_id = ran(journal, "csc-submit", ago(hours=1))
    paths = (f"/runs/{UNKNOWN}", f"/runs/{UNKNOWN}/failed.csv", f"/runs/{UNKNOWN}/log", f"/runs/{run_id}/log")
    assert [console.get(path).status for path in paths] == [404] * 4


# --- the history ------------------------------------------------------------------------------------------------------


def local(*when: int) -> datetime:
    return datetime(*when).astimezone(UTC)  # type: ignore[arg-type]


def test_a_night_goes_from_noon_to_noon_and_shows_its_worst(journal: Journal) -> None:
    ran(journal, "cqc-fetch", local(2026, 3, 1, 11, 59), state="failed", done=0)
    ran(journal, "cqc-fetch", local(2026, 3, 1, 12, 0), minutes=2)
    ran(journal, "cqc-fetch", local(2026, 3, 1, 23, 30), state="partial", failures=[("1", "code", "why")], minutes=38)
    ran(journal, "cqc-fetch", local(2026, 3, 2, 0, 10), minutes=1)
    ran(journal, "cqc-fetch", local(2026, 3, 2, 1, 0), state="failed", options={"dry_run": True})
    first, second = RunHistory(journal).nights(date(2026, 3, 1))
    assert (first.morning, first.state, first.runs) == (date(2026, 3, 1), "failed", 1)
    assert second[:6] == ("cqc-fetch", date(2026, 3, 2), 3, "partial", 30, 1)
    assert second.seconds == pytest.approx(41 * 60, abs=1)
    assert [morning_of(local(2026, 3, 1, hour)) for hour in (11, 12)] == [date(2026, 3, 1), date(2026, 3, 2)]


def test_a_run_that_another_went_on_with_is_not_the_worst(journal: Journal) -> None:
    ran(journal, "cqc-fetch", local(2026, 3, 1, 23, 0), state="resumable")
    ran(journal, "cqc-fetch", local(2026, 3, 2, 0, 0))  # closes the one before
    assert [night.state for night in RunHistory(journal).nights(date(2026, 3, 1))] == ["done"]


def test_the_calendar_has_sixty_nights_by_weekday_and_week() -> None:
    last = date(2026, 3, 4)  # a Wednesday
    [flow] = calendar_of([Night("cqc-fetch", last, 2, "failed", 3, 1, 90.0)], last)
    days = [day for _, row in flow.weekdays for day in row]
    assert sum(day.inside for day in days) == 60
    assert [name for name, row in flow.weekdays for day in row if day.night] == ["Wed"]
    assert [day.morning.weekday() for _, row in flow.weekdays for day in row] == [
        at for at in range(7) for _ in flow.weeks
    ]
    [shown] = [day for day in days if day.night]
    assert (shown.sign, shown.words) == ("✕", "night to 04 March: failed, 2 runs, 3 done, 1 failed")
    assert (flow.items[-1].x, flow.items[-1].up, flow.items[-1].down) == (236, 36.0, 12.0)
    assert not any(bar.up or bar.down for bar in flow.items[:-1])


def test_history_shows_each_night_with_a_sign_and_two_charts_to_a_flow(console: Within, journal: Journal) -> None:
    for days in range(1, 50, 3):
        ran(journal, "cqc-fetch", ago(days=days))
        ran(journal, "csc-submit", ago(days=days), state="failed", done=0)
    found = read(console, "/runs/history")
    nights = [one for one in found.all("a") if "night=" in (one["href"] or "")]
    assert len(nights) == 34
    assert {one["class"] for one in nights} == {"done", "failed"}
    assert all("runs" in (one["aria-label"] or "") or "run," in (one["aria-label"] or "") for one in nights)
    assert len(found.all("svg")) == 4
    assert all(one["role"] == "img" and one["aria-label"] for one in found.all("svg"))
    only = read(console, nights[-1]["href"] or "")
    assert len(set(only.links("/runs/")) - set(read(console, "/runs/history?text=nosuchrun").links("/runs/"))) >= 1


def test_history_by_flow_state_night_and_text(journal: Journal) -> None:
    kept = RunHistory(journal)
    one = ran(journal, "cqc-fetch", local(2026, 3, 1, 23, 30))
    two = ran(journal, "csc-submit", local(2026, 3, 2, 1, 0), state="failed", options={"job": "Children"})
    dry = ran(journal, "csc-submit", local(2026, 3, 2, 13, 0), options={"dry_run": True})

    def found(**wanted: object) -> list[str]:
        return [record.run_id for record in kept.page(Wanted(**wanted), limit=10)]  # type: ignore[arg-type]

    assert found() == [dry, two, one]
    assert found(command="csc-submit") == [dry, two]
    assert found(state="failed") == [two]
    assert found(state="dry run") == [dry]
    assert found(morning=date(2026, 3, 2)) == [two, one]
    assert found(text="CHILDREN") == found(text="service-down") == found(text=two[:8]) == [two]
    assert found(text="%") == []


def test_history_page_by_page(console: Within, journal: Journal) -> None:
    for at in range(120):
        ran(journal, "cqc-fetch", ago(hours=120 - at), target=str(at))
    path: str | None = "/runs/history?command=cqc-fetch"
    seen: list[str] = []
    while path:
        found = read(console, path)
        seen += list(dict.fromkeys(one for one in found.links("/runs/") if re.fullmatch(r"/runs/[0-9a-f-]{36}", one)))
        further = [one for one in found.links("/runs/history?") if "page=" in one]
        path = further[-1] if further and "earlier runs" in found.text else None
    assert len(seen) == len(set(seen)) == 120


@pytest.mark.parametrize("query", ["page=-1", "page=x", "page=99999999999999999999", "state=nosuch", "text=%00"])
def test_what_no_form_would_send_does_no_harm(console: Within, journal: Journal, query: str) -> None:
    read(console, f"/runs/history?{query}")


def test_a_date_that_is_none_is_told(console: Within, journal: Journal) -> None:
    assert "31.3.2026 is not a date" in read(console, "/runs/history?night=31.3.2026").text


def test_everything_is_labelled_and_nothing_comes_from_elsewhere(console: Within, journal: Journal) -> None:
    run_id = ran(journal, "csc-submit", ago(hours=1), state="partial", failures=[("1", "code", "why")])
    ran(journal, "csc-submit", datetime.now(UTC) - timedelta(days=3))
    for path in ("/runs", f"/runs/{run_id}", "/runs/history"):
        found = read(console, path)
        named = {one["for"] for one in found.all("label")}
        assert {one["id"] for tag in ("input", "select") for one in found.all(tag)} == named
        assert {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object"} == set()
        assert not any("style" in one for _, one in found.tags)
        addresses = [one.get(name) or "" for _, one in found.tags for name in ("href", "src", "action")]
        assert all(one.startswith("/") for one in addresses if one)
        assert len(found.all("h1")) == 1
