"""The reader of order files: everything in a file becomes an order, or is counted with the reason."""

import lzma
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from backroom.cli._demo_orders import MOST_LINES, Left, Order, read_names, read_orders
from backroom.domain.errors import Invalid

HEAD = "invoice,sku,qty,at,price,customer,country\n"
LONDON = ZoneInfo("Europe/London")


def orders(folder: Path, lines: str, *, names: dict[str, str] | None = None) -> tuple[list[Order], Left]:
    path = folder / "orders.csv"
    path.write_text(HEAD + lines, encoding="utf-8")
    left = Left()
    return list(read_orders(path, names=names or {}, left=left)), left


def test_lines_that_stand_together_are_one_order(tmp_path: Path) -> None:
    found, left = orders(
        tmp_path,
        "1,A,2,2011-06-01 08:26:00,2.50,77,Germany\n"
        "1,B,1,2011-06-01 08:28:00,0.99,77,Germany\n"
        "2,A,1,2011-06-01 09:00:00,2.50,78,France\n",
        names={"a": "Apple press"},
    )

    assert [(order.number, order.user, order.country, len(order.lines)) for order in found] == [
        ("1", "customer-77", "Germany", 2),
        ("2", "customer-78", "France", 1),
    ]
    assert found[0].at == datetime(2011, 6, 1, 8, 28, tzinfo=LONDON), "it left when the last line was typed in"
    assert [line.name for line in found[0].lines] == ["Apple press", "B"], "without a description the number is said"
    assert found[0].total == 5.99
    assert not left.invoices
    assert not left.lines


def test_a_row_without_a_customer_is_a_guest_of_its_own_invoice(tmp_path: Path) -> None:
    found, _ = orders(
        tmp_path,
        "1,A,1,2011-06-01 08:26:00,1,,United Kingdom\n2,A,1,2011-06-01 08:27:00,1,,United Kingdom\n",
    )

    assert [order.user for order in found] == ["guest-1", "guest-2"]


def test_what_is_no_order_is_counted_with_the_reason(tmp_path: Path) -> None:
    found, left = orders(
        tmp_path,
        "C1,A,-1,2011-06-01 08:00:00,1.00,77,Germany\n"  # a cancellation
        "2,A,-5,2011-06-01 08:00:00,0,,United Kingdom\n"  # written off
        "3,A,5,2011-06-01 08:00:00,0,,United Kingdom\n"  # found again in the stock
        "A4,A,1,2011-06-01 08:00:00,-9.99,,United Kingdom\n"  # bad debt
        ",A,1,2011-06-01 08:00:00,1.00,77,Germany\n",
    )

    assert found == []
    assert left.invoices == {
        "cancellation": 1,
        "nothing of it was shipped": 1,
        "a correction of the stock: nobody's, and nothing to pay": 1,
        "correction of the books": 1,
        "without a number that fits": 1,
    }
    assert left.lines.total() == 5, "each line is accounted for"


def test_a_bad_line_leaves_the_rest_of_its_order_alone(tmp_path: Path) -> None:
    found, left = orders(
        tmp_path,
        "1,A,2,2011-06-01 08:26:00,2.50,77,Germany\n"
        "1,A,-1,2011-06-01 08:26:00,2.50,77,Germany\n"
        "1,B,many,2011-06-01 08:26:00,2.50,77,Germany\n"
        "1,C,1,yesterday,2.50,77,Germany\n"
        "1,,1,2011-06-01 08:26:00,2.50,77,Germany\n"
        "1,D,1,2011-06-01 08:26:00,nan,77,Germany\n"
        "1,E,1,2011-06-01 08:26:00,-3,77,Germany\n"
        "1,SAMPLE,1,2011-06-01 08:26:00,0,77,Germany\n"
        "1,F\n",
    )

    assert [line.sku for line in found[0].lines] == ["A", "SAMPLE"], "a gift is shipped, too"
    assert left.lines == {
        "returned or written off": 1,
        "with a number that is none": 3,
        "without a time": 1,
        "without an article number that fits": 1,
        "an adjustment": 1,
    }


def test_an_order_has_no_more_lines_than_its_letter_takes(tmp_path: Path) -> None:
    found, left = orders(tmp_path, "1,A,1,2011-06-01 08:26:00,1,77,Germany\n" * (MOST_LINES + 3))

    assert len(found[0].lines) == MOST_LINES
    assert left.lines == {f"more than {MOST_LINES} in one order": 3}


def test_an_invoice_whose_lines_stand_apart_is_two_orders_of_one_number(tmp_path: Path) -> None:
    found, _ = orders(
        tmp_path,
        "1,A,1,2011-06-01 08:26:00,1,77,Germany\n"
        "2,A,1,2011-06-01 08:27:00,1,78,Germany\n"
        "1,B,1,2011-06-01 08:28:00,1,77,Germany\n",
    )

    assert [order.number for order in found] == ["1", "2", "1"]


def test_a_packed_file_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv.xz"
    path.write_bytes(lzma.compress((HEAD + "1,A,1,2011-06-01 08:26:00,1,77,Germany\n").encode()))

    assert [order.number for order in read_orders(path, names={}, left=Left())] == ["1"]


def test_a_file_is_read_while_it_is_played(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    good = "".join(f"{number},A,1,2011-06-01 08:26:00,1,77,Germany\n" for number in range(1, 10_000))
    path.write_bytes((HEAD + good).encode() + b"10000,\xff,1,2011-06-01 08:26:00,1,77,Germany\n")

    reading = read_orders(path, names={}, left=Left())

    assert next(reading).number == "1", "before the fault at the end is met"
    with pytest.raises(Invalid, match="cannot be read"):
        list(reading)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("orders.csv", b"invoice,sku\n1,A\n", "has no column 'qty'"),
        ("orders.csv", b"", "has no column 'invoice'"),
        ("orders.csv.xz", b"not packed", "cannot be read"),
    ],
)
def test_a_file_that_is_something_else_is_refused_with_what_is_wrong(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(Invalid, match=says):
        list(read_orders(path, names={}, left=Left()))


def test_descriptions_are_found_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "skus.csv"
    path.write_text('sku,description\n85123A,"Hanging heart, white"\nM,\n', encoding="utf-8")

    assert read_names(path) == {"85123a": "Hanging heart, white"}
