"""Whatever somebody sends, the door says what is wrong with it, and accepts nothing that can only die in a worker."""

from __future__ import annotations

import base64
import json
import socket
from datetime import datetime, timedelta

import httpx
import pytest

from tests.house import TestHouse, until

JSON = {"Content-Type": "application/json"}
ORDER = {
    "order": "A-1",
    "currency": "EUR",
    "lines": [{"sku": "cup", "name": "Cup", "quantity": 1, "price": 4.5}],
    "shipped_at": "2026-01-01T00:00:00Z",
}


@pytest.fixture
def client(house: TestHouse) -> httpx.Client:
    return house.client()


def known(house: TestHouse, client: httpx.Client, user: str = "ada") -> None:
    answer = client.put(f"/v1/users/{user}", json={"name": user})
    assert answer.status_code == 202, answer.text


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def wrong_field(answer: httpx.Response) -> str:
    assert answer.status_code == 422, answer.text
    return answer.json()["errors"][0]["field"]


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/v1/notifications", {"type": "order_shipped", "to": ["a\0"], "data": ORDER}, "/to/0"),
        ("POST", "/v1/notifications", {"type": "order_shipped", "to": ["ada"], "data": {"order": "\0"}}, "/data/order"),
        ("POST", "/v1/notifications", {"type": "order_shipped", "to": ["ada"], "data": {"a/\0": 1}}, "/data"),
        ("POST", "/v1/notifications", {"type": "x", "to": ["ada"], "idempotency_key": "\0"}, "/idempotency_key"),
        ("PUT", "/v1/users/ada", {"name": "A\0"}, "/name"),
        ("PUT", "/v1/users/ada", {"contacts": {"telegram": "\0"}}, "/contacts/telegram"),
        ("PUT", "/v1/users/ada", {"attributes": {"tags": ["a", {"b~": "\0"}]}}, "/attributes/tags/1/b~0"),
        ("PUT", "/v1/users/ada", {"attributes": {"\0": 1}}, "/attributes"),
        ("POST", "/v1/sessions", {"state": {"cart": "\0"}}, "/state/cart"),
        ("PUT", "/v1/records/notes/n", {"text": "\0"}, "/text"),
    ],
)
def test_a_nul_character_is_refused_with_its_field_before_it_is_accepted(client, method, path, body, field):
    assert wrong_field(client.request(method, path, json=body)) == field


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("POST", "/v1/notifications", {"typ": "order_shipped"}, ("/typ", "did you mean type?")),
        ("POST", "/v1/notifications", {"type": "order_shipped", "to": "ada"}, ("/to", "a list")),
        ("POST", "/v1/sessions", {"preset": "weak"}, ("/preset", "default, remember, strict")),
        ("PUT", "/v1/users/ada", {"nick": "A"}, ("/nick", "there is administrator, attributes, contacts")),
        ("PUT", "/v1/users/ada", {"contacts": {"emial": "a@b.example"}}, ("/contacts/emial", "did you mean email?")),
        ("PUT", "/v1/users/ada", {"contacts": {"telegram": "ada"}}, ("/contacts/telegram", "there is email, phone")),
        (
            "POST",
            "/v1/notifications",
            {"type": "order_shipped", "to": ["ada"], "data": {**ORDER, "lines": [{**ORDER["lines"][0], "nam": ""}]}},
            ("/data/lines/0/nam", "did you mean name?"),
        ),
    ],
)
def test_who_errs_is_told_what_would_be_right(client, method, path, body, told):
    answer = client.request(method, path, json=body)

    assert wrong_field(answer) == told[0]
    assert answer.json()["errors"][0]["right"].startswith(told[1])


def test_the_context_of_a_batch_of_events_has_no_nul_character_either(client):
    event = {"type": "track", "userId": "ada", "event": "Seen"}

    answer = client.post("/v1/batch", json={"batch": [event], "context": {"app": "\0"}})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "/context/app"


def test_one_event_with_a_nul_character_does_not_cost_its_neighbours(client):
    good = {"type": "track", "userId": "ada", "event": "Seen"}

    answer = client.post("/v1/batch", json={"batch": [good, {**good, "properties": {"a": "\0"}}, good]}).json()

    assert answer["accepted"] == 2
    assert [reject["field"] for reject in answer["rejected"]] == ["/batch/1/properties/a"]


def test_text_about_an_escape_sequence_is_not_one(client):
    event = {"userId": "ada", "event": "Seen", "properties": {"code": r"say \u0000 in JSON"}}

    assert client.post("/v1/track", json=event).status_code == 200


@pytest.mark.parametrize("levels", [101, 300, 900])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/notifications", '{"type":"order_shipped","to":["ada"],"data":{"order":%s}}'),
        ("/v1/users/ada", '{"attributes":{"a":%s}}'),
        ("/v1/track", '{"userId":"ada","event":"Seen","properties":{"a":%s}}'),
    ],
)
def test_a_body_that_is_nested_too_deep_is_refused_whatever_it_is_for(client, path, body, levels):
    method = "PUT" if "users" in path else "POST"

    answer = client.request(method, path, content=body % nested(levels), headers=JSON)

    assert answer.status_code in {400, 422}, answer.text
    assert "nested too deep" in answer.text


def test_ten_thousand_levels_are_refused_everywhere(client):
    for method, path in (("POST", "/v1/notifications"), ("PUT", "/v1/users/a"), ("POST", "/v1/batch")):
        answer = client.request(method, path, content='{"data":' * 10_000, headers=JSON)
        assert answer.status_code in {400, 422}, answer.text


@pytest.mark.parametrize("wait", ["²", "9" * 20, "9" * 5000, "-1", "abc", "1e2", ""])
def test_a_wait_that_is_no_number_is_no_wait_at_all(client, wait):
    answer = client.put("/v1/records/notes/n", json={}, headers={"Prefer": f"wait={wait}".encode("latin-1")})

    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("limit", ["²", "٣", "0", "-1", "101", "abc", "9" * 5000, "1_0", ""])
def test_a_page_that_cannot_be_is_refused(client, limit):
    assert wrong_field(client.get("/v1/records/notes", params={"limit": limit})) == "/limit"


@pytest.mark.parametrize("path", ["/v1/records/notes/日本", "/v1/users/日本", "/v1/records/notes/a?b#c%d"])
def test_an_id_in_any_script_can_be_followed_from_its_location(house, client, path):
    house.start_worker()
    encoded = path.replace("%", "%25").replace("?", "%3F").replace("#", "%23")

    answer = client.put(encoded, json={}, headers={"Prefer": "wait=10"})

    assert answer.status_code in {200, 201}, answer.text
    assert client.get(answer.headers["Location"]).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/users/%00",
        "/v1/users/%00/inbox",
        "/v1/users/%0d%0aX-Evil:1",
        "/v1/records/notes?after=日本",
        "/v1/records/notes?after=%ff",
        "/v1/insights/pages?to=0001-01-01",
        "/v1/insights/pages?from=0001-01-01",
    ],
)
def test_what_cannot_be_looked_for_is_refused(client, path):
    answer = client.get(path)

    assert answer.status_code == 422, answer.text
    assert "X-Evil" not in answer.headers


def test_a_key_in_another_script_is_a_wrong_key(house):
    client = house.client(key="")

    for credential in (b"Basic \xff", b"Bearer \xff", b"Bearer \xff.\xff.\xff", b"Basic " + b"A" * 50):
        assert client.get("/v1/users/ada", headers={"Authorization": credential}).status_code == 401


def test_a_token_that_we_did_not_sign_is_a_wrong_token(house):
    client = house.client(key="")
    claims = base64.urlsafe_b64encode(
        json.dumps(
            {
                "iss": "backroom",
                "aud": "backroom:user",
                "app": house.app.id,
                "sub": "ada",
                "iat": 1_700_000_000,
                "exp": 9_999_999_999,
            }
        ).encode()
    ).rstrip(b"=")
    for header in ({"alg": "none"}, {"alg": "HS256"}, {"alg": ["HS256"]}, {"alg": "RS256"}, {}, [], None, "x" * 9000):
        head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=")
        for signature in (b"", b"x", b"A" * 43):
            token = b".".join((head, claims, signature))
            answer = client.get("/v1/users/ada", headers={"Authorization": b"Bearer " + token})
            assert answer.status_code == 401, (header, answer.text)


def test_bytes_that_are_no_text_spoil_one_event_only(client):
    good = b'{"type":"track","userId":"ada","event":"Seen"}'
    bad = b'{"type":"track","userId":"ada","event":"\xff"}'

    answer = client.post("/v1/batch", content=b'{"batch":[%s,%s]}' % (good, bad), headers=JSON)

    assert answer.status_code == 200, answer.text
    assert answer.json()["accepted"] == 1
    assert answer.json()["rejected"][0]["index"] == 1


@pytest.mark.parametrize("key", ["k" * 255, "😀" * 255])
def test_the_longest_idempotency_key_works(house, client, key):
    known(house, client)
    body = {"type": "order_shipped", "to": ["ada"], "data": ORDER, "idempotency_key": key}

    first, second = client.post("/v1/notifications", json=body), client.post("/v1/notifications", json=body)

    assert first.status_code == second.status_code == 202, first.text
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shipped_at", "0000-01-01T00:00:00Z"),
        ("shipped_at", "0001-01-01T00:00:00+14:00"),
        ("shipped_at", "9999-12-31T23:59:59Z"),
        ("shipped_at", "2016-12-31T23:59:60Z"),
        ("shipped_at", "2026-02-29T00:00:00Z"),
        ("shipped_at", "2026-01-01T00:00:00"),
        ("shipped_at", "2026-01-01"),
        ("tracking_url", "https://"),
        ("tracking_url", "javascript:alert(1)"),
    ],
)
def test_what_no_letter_could_be_made_of_is_refused_at_the_door(house, client, field, value):
    known(house, client)

    body = {"type": "order_shipped", "to": ["ada"], "data": {**ORDER, field: value}}

    assert wrong_field(client.post("/v1/notifications", json=body)) == f"/data/{field}"


@pytest.mark.parametrize(
    "moment", ["2026-01-01t00:00:00z", "2026-01-01T00:00:00.123456789Z", "0002-01-01T00:00:00+14:00"]
)
def test_every_moment_that_the_door_takes_can_be_told(house, client, moment):
    house.start_worker()
    known(house, client)

    posted = client.post(
        "/v1/notifications", json={"type": "order_shipped", "to": ["ada"], "data": {**ORDER, "shipped_at": moment}}
    )

    assert posted.status_code == 202, posted.text

    def items() -> list[dict]:
        return client.get("/v1/users/ada/inbox").json()["items"]

    assert len(until(items, what="the letter is in the inbox")) == 1


def test_a_body_without_a_length_counts_and_no_body_is_the_defaults(client):
    def chunks():
        yield b'{"expires_in": '
        yield b"60}"

    short = client.post("/v1/users/ada/tokens", content=chunks())
    usual = client.post("/v1/users/ada/tokens", content=iter(()))
    session = client.post("/v1/sessions", content=iter(()))

    lasts = datetime.fromisoformat(usual.json()["expires_at"]) - datetime.fromisoformat(short.json()["expires_at"])
    assert timedelta(minutes=13) < lasts < timedelta(minutes=15)
    assert session.status_code == 201, session.text


def test_a_page_can_read_that_its_key_is_wrong(house):
    client = house.client(key="")

    answer = client.post(
        "/v1/track", json={}, headers={"Authorization": "Basic bm9ib2R5Og==", "Origin": "https://shop"}
    )

    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_a_body_that_does_not_come_is_not_waited_for_for_ever(house, monkeypatch):
    monkeypatch.setattr("api_shim.body.LONGEST_READ", timedelta(milliseconds=100))
    client = house.client()
    request = (
        f"POST /v1/notifications HTTP/1.1\r\nHost: door\r\nAuthorization: {client.headers['Authorization']}\r\n"
        "Content-Length: 10\r\n\r\n{"
    )

    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=15) as slow:
        slow.sendall(request.encode())
        assert slow.recv(65_536).startswith(b"HTTP/1.1 408")
