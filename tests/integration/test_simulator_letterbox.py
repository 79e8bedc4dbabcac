"""Letters survive a restart, and neither memory nor disk grows without end."""

import pytest

from backroom.domain.errors import Invalid
from backroom.simulator.letter import TEXT_LIMIT, Letter, Outcome
from backroom.simulator.letterbox import Letterbox


def letter(number, *, to="ada@example.com", delivery="", outcome=Outcome.DELIVERED, **more):
    return Letter(
        **{
            "id": f"letter-{number}",
            "medium": "email",
            "carrier": "smtp",
            "at": "2026-11-23T10:00:00.000Z",
            "to": to,
            "outcome": outcome,
            "answer": "250",
            "accepted": outcome is Outcome.DELIVERED,
            "delivery": delivery,
            **more,
        }
    )


def ids(box, **filters):
    return [entry.id for entry in box.find(**filters)]


def test_letters_and_counts_survive_a_restart(tmp_path):
    with Letterbox(tmp_path) as box:
        for number in range(3):
            box.put(letter(number, delivery="d-1"))

    with Letterbox(tmp_path) as box:
        assert ids(box) == ["letter-2", "letter-1", "letter-0"]
        assert box.get("letter-1").attempt == 2
        assert box.seen("d-1", "ada@example.com") == 3
        assert (box.tally.letters, box.tally.deliveries, box.tally.doubles) == (3, 1, 1)


def test_half_a_line_of_a_killed_server_is_cut_off(tmp_path):
    with Letterbox(tmp_path) as box:
        box.put(letter(0))
    with (tmp_path / "letters.jsonl").open("ab") as file:
        file.write(b'{"letter":{"id":"lost')

    with Letterbox(tmp_path) as box:
        box.put(letter(1))
    with Letterbox(tmp_path) as box:
        assert ids(box) == ["letter-1", "letter-0"]
        assert box.get("letter-1").id == "letter-1"


def test_a_line_that_somebody_broke_hides_no_other(tmp_path):
    with Letterbox(tmp_path) as box:
        box.put(letter(0))
    with (tmp_path / "letters.jsonl").open("ab") as file:
        file.write(b'what?\n\xff\n{"letter":{"id":"\xff"}}\n')
    with Letterbox(tmp_path) as box:
        box.put(letter(1))

    with Letterbox(tmp_path) as box:
        assert [box.get(each).id for each in ids(box)] == ["letter-1", "letter-0"]


def test_only_the_newest_are_found_and_all_are_counted(tmp_path):
    with Letterbox(tmp_path, kept=20) as box:
        for number in range(100):
            box.put(letter(number))

        assert box.tally.letters == 100
        assert 20 <= len(ids(box)) <= 22
        assert ids(box)[0] == "letter-99"
        assert box.get("letter-0") is None
        assert box.get("letter-99").id == "letter-99"


def test_a_full_file_gives_way_and_the_counts_stay_whole(tmp_path):
    with Letterbox(tmp_path, file_limit=20_000) as box:
        for number in range(300):
            box.put(letter(number, delivery=f"d-{number}"))
        found = ids(box)
        assert [box.get(each).id for each in found] == found

    assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) <= 40_000
    with Letterbox(tmp_path, file_limit=20_000) as box:
        assert box.tally.letters == box.tally.deliveries == 300
        assert ids(box) == found
        assert [box.get(each).id for each in found] == found


def test_what_is_kept_of_a_letter_has_limits(tmp_path):
    with Letterbox(tmp_path) as box:
        kept = box.put(
            letter(0, text="ä" * TEXT_LIMIT, html="\ud800", headers={f"H{n}": "x" * 10_000 for n in range(200)})
        )

        assert len(kept.text.encode()) <= TEXT_LIMIT
        assert kept.html == "\ufffd"
        assert len(kept.headers) == 100
        assert box.get("letter-0") == kept


def test_a_delivery_taken_twice_for_one_recipient_is_a_double(tmp_path):
    with Letterbox(tmp_path) as box:
        box.put(letter(0, delivery="d-1", outcome=Outcome.FAILED))
        box.put(letter(1, delivery="d-1"))
        box.put(letter(2, delivery="d-1", to="grace@example.com"))
        assert (box.tally.deliveries, box.tally.doubles) == (2, 0)

        box.put(letter(3, delivery="d-1"))
        assert (box.tally.deliveries, box.tally.doubles) == (2, 1)


def test_letters_are_found_by_what_is_asked(tmp_path):
    with Letterbox(tmp_path) as box:
        box.put(letter(0, to="Ada@example.com", subject="Your ÖRDER"))
        box.put(letter(1, to="grace@example.com", delivery="d-1", medium="sms"))
        box.put(letter(2, outcome=Outcome.BOUNCED))

        assert ids(box, to="ada@EXAMPLE.com") == ["letter-2", "letter-0"]
        assert ids(box, medium="sms") == ids(box, delivery="d-1") == ["letter-1"]
        assert ids(box, outcome="bounced") == ["letter-2"]
        assert ids(box, words="örder") == ["letter-0"]
        assert ids(box, after="letter-2") == ["letter-1", "letter-0"]


def test_a_cleared_box_is_empty_also_after_a_restart(tmp_path):
    with Letterbox(tmp_path) as box:
        box.put(letter(0))
        assert box.clear() == 1
        assert ids(box) == []
        box.put(letter(1))

    with Letterbox(tmp_path) as box:
        assert ids(box) == ["letter-1"]
        assert box.tally.letters == 1


def test_two_simulators_never_share_a_folder(tmp_path):
    with Letterbox(tmp_path), pytest.raises(Invalid, match="another simulator"):
        Letterbox(tmp_path)
