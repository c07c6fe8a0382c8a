"""Cursors: only what was given for the same list comes back."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import UsageError
from skill_fleet.services.cursors import make_cursor, read_cursor

FILTERS = st.lists(st.none() | st.text() | st.lists(st.text()))


@given(st.floats(allow_nan=False), st.text(), FILTERS, FILTERS)
def test_a_cursor_is_of_its_list_alone(at, name, filters, others):
    cursor = make_cursor([at, name], filters)
    assert read_cursor(cursor, filters, (float, str)) == [at, name]
    if others != filters:
        with pytest.raises(UsageError):
            read_cursor(cursor, others, (float, str))


@given(st.text())
def test_what_is_made_up_is_refused(cursor):
    with pytest.raises(UsageError) as refused:
        read_cursor(cursor, [], (str,))
    assert refused.value.code == "cursor"


@pytest.mark.parametrize("place", [[], ["x"], [1, "x"], [True, "x"], [1.0, "x", "y"], [None, "x"], [{}, []]])
def test_a_place_of_another_shape_is_refused_also_when_it_is_signed(place):
    value = json.dumps([*place, digest([*place, []])[:16]])
    cursor = base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")
    with pytest.raises(UsageError):
        read_cursor(cursor, [], (float, str))
