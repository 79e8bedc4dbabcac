"""In a real browser a letter stays in its frame, and the list fetches what is new."""

import os
import smtplib
import subprocess
import sys
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from backroom.simulator.run import Simulator

ROOT = Path(__file__).parents[2]
EVIL = """
<script>parent.document.title = "broken"</script>
<img src="{elsewhere}/pixel.gif" onerror="parent.document.title='broken'">
<link rel="stylesheet" href="{elsewhere}/style.css">
<style>@import "{elsewhere}/other.css"; p {{ color: rgb(1, 2, 3) }}</style>
<meta http-equiv="refresh" content="0; url={elsewhere}/moved">
<form action="{elsewhere}/form"><button>Send</button></form>
<p id="words">Hello, Eve</p>
"""


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def elsewhere():
    """Another server, which keeps what it is asked for."""
    asked = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", asked=asked)
        server.shutdown()


def send(simulator, *, to, subject="Hello", html="<p>Hello</p>"):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.com", to, subject
    message.set_content("Hello")
    message.add_alternative(html, subtype="html")
    with smtplib.SMTP("127.0.0.1", simulator.smtp_port, timeout=10) as server:
        server.send_message(message)
    return simulator.letters(to=to)[0]


def test_a_hostile_letter_runs_nothing_and_loads_nothing(simulator, chromium, elsewhere):
    evil = EVIL.format(elsewhere=elsewhere.url)
    kept = send(simulator, to="eve@example.com", html=evil)
    page = chromium.new_page()

    page.goto(f"{simulator.url}/outbox/{kept['id']}", wait_until="networkidle")

    words = page.frame_locator("iframe").locator("#words")
    expect(words).to_have_text("Hello, Eve")
    expect(words).to_have_css("color", "rgb(1, 2, 3)")
    assert page.title() == "Hello · Backroom"
    # What a browser says it asked for is told before its policy has judged: only who is asked knows.
    assert elsewhere.asked == []
    page.close()

    # And the same letter where nothing holds it back, to show that whoever is asked would have heard.
    page = chromium.new_page()
    page.set_content(evil)
    page.wait_for_url(f"{elsewhere.url}/moved")
    assert set(elsewhere.asked) >= {"/pixel.gif", "/style.css", "/other.css", "/moved"}
    page.close()


def test_the_list_shows_a_new_letter_by_itself(simulator, chromium):
    send(simulator, to="first@example.com")
    page = chromium.new_page()
    wrong = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{simulator.url}/outbox")

    send(simulator, to="second@example.com")

    expect(page.get_by_text("second@example.com")).to_be_visible(timeout=20_000)
    assert wrong == []
    page.close()


def test_without_scripts_everything_can_be_read(simulator, chromium):
    send(simulator, to="plain@example.com", subject="No scripts needed")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()

    page.goto(f"{simulator.url}/outbox")
    page.get_by_label("Search letters").fill("plain@")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="plain@example.com").click()
    page.get_by_role("link", name="Headers and source").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("No scripts needed")
    expect(page.get_by_role("row", name="Subject")).to_be_visible()
    context.close()


@pytest.mark.usefixtures("chromium")
def test_a_picture_of_a_page_can_be_taken(simulator, tmp_path):
    picture = tmp_path / "outbox.png"

    subprocess.run(
        [
            sys.executable,
            ROOT / "scripts/screenshot.py",
            f"{simulator.url}/outbox",
            picture,
            "--size",
            "400x300",
            "--dark",
        ],
        check=True,
        timeout=60,
    )

    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_a_chromium_the_picture_says_what_to_install(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/screenshot.py", "http://127.0.0.1:9/", tmp_path / "none.png"],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "apt-get install chromium" in done.stderr
