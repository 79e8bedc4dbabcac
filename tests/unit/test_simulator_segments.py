"""An SMS goes out in as many parts as two other calculators say."""

import pytest
import smsutil
from hypothesis import given
from hypothesis import strategies as st

from backroom.simulator.segments import GSM, UCS, segments


@pytest.mark.parametrize(
    ("text", "parts", "encoding"),
    [
        ("", 1, GSM),
        ("a" * 160, 1, GSM),
        ("a" * 161, 2, GSM),
        ("a" * 306, 2, GSM),
        ("a" * 307, 3, GSM),
        ("€" * 80, 1, GSM),
        ("€" * 81, 2, GSM),
        # 306 septets that need three parts, since the escape and its letter stay together.
        ("a" * 152 + "€" + "a" * 152, 3, GSM),
        ("é", 1, GSM),
        ("ê", 1, UCS),
        ("“quoted”", 1, UCS),
        ("`", 1, UCS),
        ("ê" * 70, 1, UCS),
        ("ê" * 71, 2, UCS),
        ("ê" * 134, 2, UCS),
        ("🔐" * 35, 1, UCS),
        ("🔐" * 36, 2, UCS),
        ("ê" * 66 + "🔐" + "ê" * 66, 3, UCS),
    ],
)
def test_parts_are_counted_as_the_networks_do(text, parts, encoding):
    assert segments(text) == (parts, encoding)


@given(st.text(alphabet=st.sampled_from("aZ0 ñ€{]ê🔐\n@"), min_size=1, max_size=700))
def test_an_independent_calculator_agrees(text):
    theirs = smsutil.split(text)

    assert segments(text)[0] == len(theirs.parts)
