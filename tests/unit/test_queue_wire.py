"""The shape of a message on the wire."""

from __future__ import annotations

import json

import pytest
from dramatiq import Message

from backroom.domain.errors import Invalid
from backroom.queue.wire import Post, decode, sealed


def post(**changes: object) -> Post:
    return Post(**{"job": "user.greet", "queue": "quiet", "message": {"user": "u1"}, "id": "m1", **changes})


def seal(post: Post) -> bytes:
    return sealed(post)[3]


def test_a_body_is_a_message_that_stock_dramatiq_reads():
    message = Message.decode(seal(post(answer=True)))

    assert (message.actor_name, message.queue_name, message.message_id) == ("user.greet", "quiet", "m1")
    assert message.kwargs == {"message": {"user": "u1"}}
    assert message.options == {"answer": True}


def test_a_body_that_stock_dramatiq_wrote_is_read():
    stock = Message(queue_name="q", actor_name="a", args=(1,), kwargs={"b": 2}, options={}, message_id="m1")

    envelope = decode(stock.encode(), id="m1")

    assert (envelope.args, envelope.kwargs) == ([1], {"b": 2})


def test_a_body_over_the_limit_is_refused():
    with pytest.raises(Invalid, match="bytes on the wire"):
        seal(post(message={"user": "x" * 300_000}))


def test_a_payload_that_json_does_not_know_is_refused():
    with pytest.raises(Invalid, match="cannot be written"):
        seal(post(message={"user": object()}))


@pytest.mark.parametrize("queue", ["", "a|b", "a b", "ü", "q" * 101, "1st", "a\n"])
def test_a_queue_that_cannot_be_a_key_is_refused(queue: str):
    with pytest.raises(Invalid, match="/queue"):
        seal(post(queue=queue))


@pytest.mark.parametrize("id", ["", "a|b", "a b", "a\n", "x" * 201])
def test_an_id_that_cannot_be_a_key_is_refused(id: str):
    with pytest.raises(Invalid, match="/id"):
        seal(post(id=id))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        json.dumps({"queue_name": "q", "actor_name": "a", "args": [], "kwargs": {}, "options": {}}).encode(),
        seal(post(id="another")),
    ],
)
def test_what_is_not_this_message_is_not_read(body: bytes):
    with pytest.raises(Invalid):
        decode(body, id="m1")
