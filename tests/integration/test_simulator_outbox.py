"""The outbox shows every letter and lets none of them reach the page around it."""

import html
import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest

from backroom.simulator import magic
from backroom.simulator.run import Simulator
from backroom.simulator.server import ADDRESS_FILE

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as simulator:
        yield simulator


def send(simulator, *, to="", subject="Hello", sender="Shop", content="<p>Hello</p>", delivery=""):
    to = to or f"{uuid.uuid4()}@example.com"
    mail = {
        "from": {"email": "shop@example.com", "name": sender},
        "subject": subject,
        "personalizations": [{"to": [{"email": to}], "custom_args": {"delivery_id": delivery}}],
        "content": [{"type": "text/plain", "value": "the plain words"}, {"type": "text/html", "value": content}],
    }
    answer = httpx.post(f"{simulator.url}/v3/mail/send", json=mail, headers={"Authorization": "Bearer x"}, timeout=10)
    assert answer.status_code == 202
    (kept,) = simulator.letters(to=to)
    return kept


def text(simulator, body):
    to = f"+49151{uuid.uuid4().int % 10**8:08d}"
    account = "AC" + "0" * 32
    form = {"To": to, "From": "Backroom", "Body": body}
    httpx.post(
        f"{simulator.url}/2010-04-01/Accounts/{account}/Messages.json", data=form, auth=(account, "x"), timeout=10
    )
    (kept,) = simulator.letters(to=to)
    return kept


def page(simulator, path, **params):
    return httpx.get(f"{simulator.url}{path}", params=params or None, timeout=10)


def test_the_front_page_leads_to_the_outbox(simulator):
    answer = page(simulator, "/")

    assert (answer.status_code, answer.headers["location"]) == (302, "/outbox")


def test_an_empty_outbox_says_what_to_do_next():
    with Simulator() as simulator:
        answer = page(simulator, "/outbox")

        assert f"curl {simulator.url}/v3/mail/send" in answer.text


def test_markup_in_subject_and_sender_is_only_words(simulator):
    kept = send(simulator, subject=EVIL, sender=EVIL)

    for shown in (page(simulator, "/outbox"), page(simulator, f"/outbox/{kept['id']}")):
        assert EVIL not in shown.text
        assert html.escape(EVIL, quote=False).split('"')[0] in shown.text


@pytest.mark.parametrize("content", [EVIL, f'"></iframe>{EVIL}', "' srcdoc='x", "<!-- </iframe>"])
def test_an_email_is_shown_in_a_frame_that_may_do_nothing(simulator, content):
    kept = send(simulator, content=content)

    shown = page(simulator, f"/outbox/{kept['id']}")

    frames = re.findall(r"<iframe[^>]*>", shown.text)
    assert len(frames) == 1
    assert 'sandbox=""' in frames[0]
    framed = html.unescape(re.search(r'srcdoc="([^"]*)"', frames[0])[1])
    assert framed.endswith(content)
    assert "default-src 'none'" in framed
    assert EVIL not in shown.text


def test_the_page_loads_nothing_from_elsewhere(simulator):
    kept = send(simulator)

    for path in ("/outbox", f"/outbox/{kept['id']}", "/outbox/recipients"):
        headers = page(simulator, path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "script-src 'self';" in headers["content-security-policy"]
        assert "http" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"


def test_words_headers_and_source_of_an_email_can_be_read(simulator):
    kept = send(
        simulator, content='<a href="https://shop.example/o/1">Your <b>order</b></a><a href="javascript:x">no</a>'
    )

    assert "the plain words" in page(simulator, f"/outbox/{kept['id']}", view="text").text
    source = page(simulator, f"/outbox/{kept['id']}", view="source").text
    assert "shop@example.com" in source
    assert "&lt;b&gt;order&lt;/b&gt;" in source
    shown = page(simulator, f"/outbox/{kept['id']}").text
    assert 'href="https://shop.example/o/1"' in shown
    assert 'href="javascript:' not in shown


def test_an_sms_is_shown_with_its_parts_and_encoding(simulator):
    kept = text(simulator, "ê" * 71 + EVIL)

    shown = page(simulator, f"/outbox/{kept['id']}").text

    assert "2 parts · UCS-2 · 98 characters" in shown
    assert EVIL not in shown
    assert "<iframe" not in shown


def test_the_list_is_narrowed_by_medium_outcome_and_words(simulator):
    mark = uuid.uuid4().hex
    email = send(simulator, subject=f"about {mark}")
    sms = text(simulator, f"about {mark}")
    bounced = send(simulator, subject=f"about {mark}", to=f"bounce+{mark}@example.com")

    def listed(**params):
        return re.findall(r'class="row" href="/outbox/([^"]+)"', page(simulator, "/outbox", **params).text)

    assert listed(words=mark) == [bounced["id"], sms["id"], email["id"]]
    assert listed(words=mark, medium="sms") == [sms["id"]]
    assert listed(words=mark, outcome="bounced") == [bounced["id"]]
    assert "No letter fits" in page(simulator, "/outbox", words=mark + EVIL).text


def test_the_list_goes_on_over_pages(simulator):
    mark = uuid.uuid4().hex
    for _ in range(51):
        send(simulator, subject=mark)

    first = page(simulator, "/outbox", words=mark).text
    older = html.unescape(re.search(r'<a href="([^"]+)" rel="next">', first)[1])
    second = httpx.get(simulator.url + older).text

    assert first.count('class="row"') == 50
    assert second.count('class="row"') == 1


def test_a_letter_that_is_not_kept_is_a_friendly_404(simulator):
    answer = page(simulator, "/outbox/nothing")

    assert answer.status_code == 404
    assert "not here" in answer.text


def test_the_page_and_the_docs_tell_every_magic_recipient(simulator):
    shown = page(simulator, "/outbox/recipients").text
    written = (Path(__file__).parents[2] / "docs/reference/simulator.md").read_text()

    for row in (*magic.ADDRESSES, *magic.NUMBERS):
        assert f"<code>{row.recipient}</code>" in shown
        assert f"| `{row.recipient}` | {row.outcome} | {row.over_http} |" in written


def test_a_web_site_that_points_its_name_at_us_reads_nothing(simulator):
    answer = httpx.get(f"{simulator.url}/api/letters", headers={"Host": "evil.example"})

    assert answer.status_code == 421


def test_the_api_pages_through_what_fits(simulator):
    delivery = str(uuid.uuid4())
    for _ in range(3):
        send(simulator, delivery=delivery)

    url = f"{simulator.url}/api/letters"
    first = httpx.get(url, params={"delivery": delivery, "limit": 2}).json()
    second = httpx.get(url, params={"delivery": delivery, "limit": 2, "after": first["next"]}).json()

    assert (len(first["letters"]), len(second["letters"]), second["next"]) == (2, 1, None)
    newest = first["letters"][0]
    assert httpx.get(f"{url}/{newest['id']}").json() == newest


@pytest.mark.parametrize("params", [{"limit": "0"}, {"limit": "many"}, {"after": "nothing"}, {"recipient": "ada"}])
def test_a_wrong_question_is_told_what_is_wrong(simulator, params):
    answer = httpx.get(f"{simulator.url}/api/letters", params=params)

    assert answer.status_code == 400
    assert next(iter(params)) in answer.text


def test_the_summary_counts_and_finds_doubles():
    with Simulator() as simulator:
        send(simulator, to="ada@example.com", delivery="d-1")
        httpx.delete(f"{simulator.url}/api/letters")
        send(simulator, to="ada@example.com", delivery="d-1")
        send(simulator, to="grace@example.com", delivery="d-1")
        text(simulator, "Hello")
        assert simulator.summary() | {"newest": ""} == {
            "letters": 3,
            "accepted": 3,
            "medium": {"email": 2, "sms": 1},
            "carrier": {"sendgrid": 2, "twilio": 1},
            "outcome": {"delivered": 3},
            "deliveries": 2,
            "doubles": 0,
            "newest": "",
        }

        simulator.clear()
        assert simulator.summary()["letters"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_letters_survive_the_end_of_the_server_however_it_comes(tmp_path, number):
    with Simulator(tmp_path) as simulator:
        kept = send(simulator)
        os.kill(json.loads((tmp_path / ADDRESS_FILE).read_text())["pid"], number)

    with Simulator(tmp_path) as simulator:
        assert simulator.letters() == [kept]


def test_it_stops_at_once_though_somebody_waits_for_an_answer(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "backroom.simulator", "--home", tmp_path, "--port", "0", "--smtp-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert b"simulator.ready" in process.stdout.readline()
        url = json.loads((tmp_path / ADDRESS_FILE).read_text())["url"]
        mail = {
            "from": {"email": "shop@example.com"},
            "subject": "Hello",
            "personalizations": [{"to": [{"email": magic.EMAIL_HANGS}]}],
            "content": [{"type": "text/plain", "value": "Hello"}],
        }
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v3/mail/send", json=mail, headers={"Authorization": "Bearer x"}, timeout=0.5)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=20)
        assert (process.returncode, b"Traceback" in said) == (0, False)
    finally:
        process.kill()
        process.communicate()


def test_a_taken_port_is_said_in_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "backroom.simulator", "--home", tmp_path, "--port", port, "--smtp-port", "0"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert done.returncode == 2
    assert re.fullmatch(r"--port: cannot listen on 127\.0\.0\.1 port \d+: .*\n", done.stderr)
