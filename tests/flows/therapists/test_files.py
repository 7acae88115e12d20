"""Which files count: their names and folders, whole or half-written, the newest of each ZIP code, and once only."""

from __future__ import annotations

import json
import os
import shutil
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dataflows.flows.practice.therapists import choosing
from dataflows.flows.practice.therapists.choosing import Look, look
from dataflows.flows.practice.therapists.files import NOTHING_SAID, Found
from tests.flows.therapists.world import Ran, World, moment, older_scrape, scrape, therapist

FIRST, LATER = "2025-07-01T03:00", "2025-07-08T03:00"


def test_the_same_file_is_imported_once_and_a_changed_one_again(world: World) -> None:
    world.bring(therapist())
    again = world.bring_in()
    assert (again.code, again.files("imported", "skipped"), again.counts) == (0, [0, 1], {})
    changed = world.bring(therapist(phone="030 23125 102"))
    assert (changed.files("imported", "skipped"), changed.counts) == ([1, 0], {"updated": 1})
    assert [row[1] for row in world.tracked] == ["success", "success"]


def test_reprocess_imports_again_and_changes_nothing(world: World) -> None:
    world.bring(therapist())
    before = world.therapists
    ran = world.bring_in(reprocess=True)
    assert (ran.files("imported"), ran.counts) == ([1], {"unchanged": 1})
    assert (world.therapists, len(world.tracked)) == (before, 1)


def test_a_file_that_goes_back_to_what_it_was_is_imported_again(world: World) -> None:
    for phone in ("030 23125 101", "030 23125 102", "030 23125 101"):
        ran = world.bring(therapist(phone=phone))
    assert (ran.counts, len(world.tracked)) == ({"updated": 1}, 3)
    assert world.therapists[0].phone == "030 23125 101"


def test_subfolders_count_and_other_names_are_left_alone(world: World) -> None:
    world.put("20250708/52066.JSON", scrape(therapist()))
    world.put("region a/20250708/52074.json", scrape(therapist("Anna", source_id="praxis68")))
    world.put("Mustermann_Max_2025-07-05_0b1ab67b.json", "{}")
    world.put("20250708/notes.txt", "")
    ran = world.bring_in()
    assert (ran.files("seen", "imported", "other"), ran.counts) == ([2, 2, 2], {"new": 2})
    assert [row[0] for row in world.tracked] == ["20250708/52066.JSON", "region a/20250708/52074.json"]
    assert "Mustermann" not in json.dumps(ran.document) + ran.err


def test_only_the_newest_file_of_a_zip_code_is_applied(world: World) -> None:
    world.put("20250701/52074.json", scrape(therapist("Early"), date=FIRST))
    world.put("20250708/52074.json", scrape(therapist("Late"), date=LATER))
    ran = world.bring_in()
    assert (ran.files("seen", "imported", "superseded"), world.names) == ([2, 1, 1], ["Late Muster"])
    assert sorted(world.tracked) == [
        ("20250701/52074.json", "superseded", None),
        ("20250708/52074.json", "success", None),
    ]
    assert world.bring_in().files("imported", "skipped", "superseded") == [0, 1, 0]


def test_a_late_folder_is_superseded_too(world: World) -> None:
    world.bring(therapist("Late"), file="20250708/52074.json", date=LATER)
    ran = world.bring(therapist("Early"), file="20250701/52074.json", date=FIRST)
    assert (ran.files("imported", "superseded"), world.names) == ([0, 1], ["Late Muster"])


def test_without_dated_folders_the_scrape_date_decides(world: World) -> None:
    world.put("a/52074.json", scrape(therapist("Late"), date=LATER))
    world.put("b/52074.json", older_scrape(therapist("Early"), date=FIRST))
    assert (world.bring_in().files("imported", "superseded"), world.names) == ([1, 1], ["Late Muster"])


def test_an_older_file_waits_while_the_newest_is_broken(world: World) -> None:
    world.put("20250701/52074.json", scrape(therapist("Early"), date=FIRST))
    world.put("20250708/52074.json", b'{"therapists": [')
    ran = world.bring_in()
    assert (ran.files("imported", "failed", "superseded"), ran.code) == ([0, 1, 0], 4)


def test_an_older_file_named_on_the_command_line_is_applied_but_changes_nothing_newer(world: World) -> None:
    world.bring(therapist(phone="030 23125 102"), file="20250708/52074.json", date=LATER)
    early = world.put("20250701/52074.json", scrape(therapist(), therapist("Anna", source_id="praxis6"), date=FIRST))
    ran = world.bring_in(early)
    assert (ran.files("seen", "imported"), ran.counts) == ([1, 1], {"new": 1, "unchanged": 1, "older": 1})
    assert [row[0] for row in world.tracked] == ["20250708/52074.json", "20250701/52074.json"]


def test_files_are_applied_in_the_order_of_their_dates(world: World) -> None:
    for zip_code, day in (("52001", "03"), ("52002", "01"), ("52003", "02")):
        entry = therapist(phone=f"030 23125 1{day}")
        world.put(f"{zip_code}.json", scrape(entry, date=f"2025-07-{day}"))
    ran = world.bring_in()
    assert (ran.counts, [change[2][-2:] for change in world.changes]) == ({"new": 1, "updated": 2}, ["02", "03"])


def test_a_date_in_the_future_does_not_count(world: World) -> None:
    world.put("20250708/52074.json", scrape(therapist(), date="2999-01-01"))
    assert world.bring_in()["remarks"] == {"date_in_future": 1}
    assert world.therapists[0].last_seen == moment("2025-07-08")


def test_a_half_written_file_is_not_ready_and_no_error(world: World) -> None:
    whole = json.dumps(scrape(therapist()))
    world.put("52074.json", whole[:-20], age=60)
    ran = world.bring_in()
    assert (ran.code, ran.files("failed", "not_ready"), world.tracked, world.mails()) == (0, [0, 1], [], [])
    world.put("52074.json", whole, age=30)
    assert world.bring_in().counts == {"new": 1}


def test_a_broken_file_of_next_year_is_told_and_a_clock_that_steps_back_keeps_nothing_waiting(world: World) -> None:
    world.put("52074.json", "{", age=-1e7)
    assert (world.bring_in().code, len(world.mails())) == (4, 1)
    assert world.bring_in().files("failed", "skipped") == [0, 1]  # it is tried again after an hour
    world.later(hours=-3)
    assert world.bring_in().files("failed", "skipped") == [1, 0]
    world.put("52074.json", scrape(therapist()), age=-1e7)
    assert world.bring_in().counts == {"new": 1}


@pytest.mark.parametrize("changed", [-1e10, 0.0, 1.7e9, 1e15])
def test_any_time_of_a_file_is_a_moment(changed: float) -> None:
    seen = Look(Found("", "52074.json", "52074", None), 0, int(changed * 1e9), "", NOTHING_SAID)
    assert 1970 <= seen.date.year < 10_000


def test_a_file_that_was_just_written_is_waited_for(world: World) -> None:
    world.put("52074.json", scrape(therapist()), age=0)
    assert world.bring_in().counts == {"new": 1}


def test_a_file_that_still_grows_is_left_to_the_next_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count(time.time() + 10)

    def looked(found: Found) -> Look:
        os.utime(found.path, (moment := next(ticks), moment))
        return look(found)

    world.put("52074.json", scrape(therapist()))
    monkeypatch.setattr(choosing, "look", looked)
    assert (world.bring_in().files("imported", "not_ready"), world.tracked) == ([0, 1], [])


def test_a_file_that_is_changed_while_it_is_read_is_left_to_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(found: Found) -> Look:
        seen = look(found)
        world.put("52074.json", scrape(therapist("Other")))
        return seen

    world.put("52074.json", scrape(therapist()))
    with monkeypatch.context() as patch:
        patch.setattr(choosing, "look", looked)
        assert (world.bring_in().files("imported", "not_ready"), world.therapists) == ([0, 1], [])
    assert (world.bring_in().files("imported"), world.names) == ([1], ["Other Muster"])


def test_a_file_without_any_entry_that_can_be_taken_fails(world: World) -> None:
    world.put("52074.json", b'{"therapists": [1, null, {"id": "praxis1"}]}')
    ran = world.bring_in()
    assert (ran.code, world.tracked, world.therapists) == (4, [("52074.json", "failed", "no_usable_entry")], [])


def test_an_empty_list_and_a_byte_order_mark_are_no_error(world: World) -> None:
    world.put("52074.json", b"\xef\xbb\xbf" + json.dumps(scrape(therapist())).encode())
    world.put("52066.json", scrape())
    assert (world.bring_in().code, len(world.names)) == (0, 1)


def test_a_broken_entry_is_recorded_with_its_index_and_the_rest_goes_on(world: World) -> None:
    broken = therapist("Anna", source_id="praxis2")
    broken["contact"]["phone"] = ["030 23125 101"]
    nameless = therapist(first="", source_id="praxis3")
    nul = therapist("Bernd", source_id="praxis4", city="Aa\0chen")
    ran = world.bring(broken, therapist(), nameless, "text", nul)
    assert (ran.code, ran.counts, world.names) == (3, {"new": 1, "refused": 4}, ["Thomas Muster"])
    assert [one["refused"] for one in ran["items"]] == [
        [
            {"entry": 0, "code": "wrong_type", "path": "contact.phone"},
            {"entry": 2, "code": "no_name", "path": "basic_info.first_name"},
            {"entry": 3, "code": "no_object", "path": ""},
            {"entry": 4, "code": "nul_character", "path": ""},
        ]
    ]
    [(_, status, error)] = world.tracked
    assert (status, error) == (
        "partial", "1 no_name basic_info.first_name; 1 no_object; 1 nul_character; 1 wrong_type contact.phone",
    )  # fmt: skip


def failing(world: World) -> Ran:
    world.later(minutes=61)
    return world.bring_in()


def test_a_broken_file_is_tried_five_times_with_one_mail_at_first_and_one_when_it_is_given_up(world: World) -> None:
    world.put("52074.json", b"{")
    assert world.bring_in().files("failed", "skipped") == [1, 0]
    assert world.bring_in().files("failed", "skipped") == [0, 1]  # not before an hour is over
    assert [failing(world).code for _ in range(4)] == [3, 3, 3, 3]  # no news, so no 4
    assert [failing(world).files("failed", "skipped", "dead") for _ in range(2)] == [[0, 1, 1], [0, 1, 1]]
    first, dead = world.mails()
    assert "1 failed" in first
    assert "52074.json  broken_off" in first
    assert "1 dead" in dead


def test_a_file_that_was_given_up_starts_anew_when_it_changes_and_one_mail_tells_that_it_recovered(
    world: World,
) -> None:
    world.put("52074.json", b"{")
    world.bring_in()
    for _ in range(4):
        failing(world)
    assert world.bring(therapist()).counts == {"new": 1}
    assert [mail.partition("\n")[0] for mail in world.mails()] == [
        "therapist-import: 1 failed", "therapist-import: 1 dead", "therapist-import: 1 recovered",
    ]  # fmt: skip
    world.bring_in()
    assert len(world.mails()) == 3


def test_there_are_never_more_items_than_expected(world: World) -> None:
    ran = world.bring(therapist(), "text", 7)
    planned = [line for line in ran.err.splitlines() if line.startswith("Planned")]
    assert planned == ["Planned(total=1, what='files')", "Planned(total=3, what='files, refused entries')"]


def test_a_partial_file_is_told_at_first_and_when_it_is_given_up_and_never_ends_well(world: World) -> None:
    assert world.bring(therapist(), "text").code == 3
    assert world.bring_in().code == 3  # within the hour it is not tried, and its entry is missing all the same
    assert [failing(world).code for _ in range(6)] == [3] * 6
    assert [mail.partition("\n")[0] for mail in world.mails()] == [
        "therapist-import: 1 failed", "therapist-import: 1 dead",
    ]  # fmt: skip
    assert world.bring(therapist(), therapist("Anna", source_id="praxis5")).code == 0
    assert world.mails()[-1].startswith("therapist-import: 1 recovered")


def test_a_mail_about_a_suspicious_file_gives_the_figures_and_what_to_do(world: World) -> None:
    people = [therapist("A" * (n + 1), source_id=f"praxis{n}") for n in range(10)]
    world.bring(*people, date="2025-07-01T03:00")
    gone = [{**one, "status": "deleted"} for one in people[:7]]
    assert world.bring(*gone, date="2025-07-08T03:00").code == 3
    [mail] = world.mails()
    assert "suspicious: the file would delete 7 of the 10 active therapists of its area at once" in mail
    assert "    dataflows therapist-import --allow-mass-delete" in mail
    assert world.bring_in().code == 3
    assert world.bring_in(allow_mass_delete=True).counts == {"deleted": 7}


def test_a_large_file_is_streamed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "AHEAD_BYTES", 10)
    assert world.bring(therapist(), "text").counts == {"new": 1, "refused": 1}
    world.put("52066.json", json.dumps(scrape(therapist("Anna", source_id="praxis5")))[:-5])
    assert (world.bring_in().files("failed"), world.names) == ([1], ["Thomas Muster"])


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_file_that_cannot_be_read_fails(world: World) -> None:
    (world.dir / "52074.json").symlink_to(world.dir / "gone")
    assert (world.bring_in().code, world.tracked) == (4, [("52074.json", "failed", "not_readable")])


@pytest.mark.skipif(os.name == "nt", reason="pipes and names of POSIX")
def test_what_is_no_file_and_what_has_no_name_is_left_alone(world: World) -> None:
    world.put("52074.json", scrape(therapist()))
    os.mkfifo(world.dir / "52066.json")
    (world.dir / "52067.json").mkdir()
    folder = world.dir / os.fsdecode(b"\xff")  # a name that is no text
    folder.mkdir()
    shutil.copy(world.dir / "52074.json", folder / "52068.json")
    ran = world.call("therapist-import", "--json")
    assert (ran.code, ran.files("seen", "imported", "other")) == (0, [1, 1, 2]), ran.err


@pytest.mark.skipif(os.name == "nt", reason="rights of POSIX")
def test_a_folder_that_is_closed_is_told_and_holds_up_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path, **options: Any) -> Any:
        options["onerror"](PermissionError(13, "closed"))
        return walk(path, **options)

    walk = os.walk
    world.put("52074.json", scrape(therapist()))
    monkeypatch.setattr(os, "walk", closed)
    ran = world.bring_in()
    assert (ran.code, ran.counts) == (0, {"new": 1})
    assert "1 folders cannot be read" in ran.err


def test_names_are_relative_to_the_import_folder_also_for_a_path_inside_of_it(world: World, tmp_path: Path) -> None:
    inside = world.put("20250708/52074.json", scrape(therapist()))
    assert world.bring_in(inside.parent).counts == {"new": 1}
    elsewhere = tmp_path / "elsewhere" / "20250708" / "52066.json"
    elsewhere.parent.mkdir(parents=True)
    inside.rename(elsewhere)
    world.bring_in(elsewhere)
    assert [row[0] for row in world.tracked] == ["20250708/52074.json", "20250708/52066.json"]


def test_a_folder_in_the_future_is_not_believed_and_blocks_nothing(world: World) -> None:
    world.put("20991231/52074.json", scrape(therapist(phone="030 23125 101"), date="2025-07-01T03:00"))
    assert world.bring_in()["remarks"] == {"folder_in_future": 1}
    assert world.therapists[0].last_seen == moment("2025-07-01T03:00")
    world.put("20250708/52074.json", scrape(therapist(phone="030 23125 102"), date="2025-07-08T03:00"))
    ran = world.bring_in()
    assert (ran.counts, world.therapists[0].phone) == ({"updated": 1}, "030 23125 102")


def test_a_folder_of_today_is_believed_whatever_an_archive_made_of_the_files_times(world: World) -> None:
    path = world.put("20250708/52074.json", scrape(therapist(), date=""))
    os.utime(path, (315_532_800, 315_532_800))  # 1980, as ZIP archives have it
    assert (world.bring_in()["remarks"], world.therapists[0].last_seen) == ({}, moment("2025-07-08"))


@pytest.mark.parametrize(
    ("name", "remark"), [("20250708/52074.json", "odd_date_folder_used"), ("52074.json", "odd_date_file_used")]
)
def test_a_scrape_date_in_another_form_is_a_warning_that_says_what_counts_instead(
    world: World, name: str, remark: str
) -> None:
    world.put(name, scrape(therapist(), date="02.07.2025 03:13"))
    ran = world.bring_in()
    assert (ran.code, ran.counts, ran["remarks"]) == (0, {"new": 1}, {remark: 1})


@pytest.mark.parametrize(("encoding", "named"), [("utf-16", "UTF-16"), ("cp1252", "Windows-1252")])
def test_a_file_in_another_encoding_is_told_by_its_name(world: World, encoding: str, named: str) -> None:
    world.put("52074.json", json.dumps(scrape(therapist("J\u00fcrgen \u2013")), ensure_ascii=False).encode(encoding))
    ran = world.bring_in()
    assert ran.code == 4
    assert named in ran.err
