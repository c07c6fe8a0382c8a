"""The PostgreSQL that tests are run with: who is given one has that one."""

import pytest

from postgres import running_postgres


def test_another_server_at_its_port_is_not_taken_for_it(postgres):
    with running_postgres() as other:
        other.stop()
        other.port = postgres.port
        with pytest.raises(OSError, match="could not bind"):
            other.start()
        other.port = 0
        other.start()
        assert other.port != postgres.port
