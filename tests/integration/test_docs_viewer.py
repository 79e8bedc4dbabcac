"""In a real browser the door shows its own document, and asks nobody else for anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.house import TestHouse


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page()
    yield page
    page.close()


def test_the_document_can_be_read_and_tried_and_nobody_else_is_asked(house: TestHouse, page: Page) -> None:
    door = house.open_door()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))

    page.goto(f"{door}/docs")
    chapter = page.locator("#operations-health-get_healthz")
    expect(chapter).to_contain_text("Always 200", timeout=30_000)
    chapter.locator("button.opblock-summary-control").click()
    page.get_by_role("button", name="Execute").click()

    expect(chapter.locator(".live-responses-table")).to_contain_text('"status": "ok"', timeout=30_000)
    assert said == []
    assert [url for url in asked if not url.startswith((door, "data:", "blob:"))] == []


def test_a_file_that_the_page_does_not_need_is_not_there(house: TestHouse) -> None:
    client = house.client(key="")

    assert client.get("/docs/swagger-ui.css").headers["Content-Type"] == "text/css; charset=utf-8"
    assert client.get("/docs/swagger-ui-bundle.js.map").status_code == 404
    assert client.get("/docs/..%2Findex.html").status_code == 404
