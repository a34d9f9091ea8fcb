"""`python -m tests.chaos` by hand: what it says where a server is not on the host."""

from __future__ import annotations

import pytest

from tests.chaos.__main__ import told


def test_a_host_without_a_server_is_told_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def play() -> int:
        pytest.skip("requires ferretdb: python -m tests.fakes.mongo_server")

    assert told(play) == 2
    assert capsys.readouterr().err == "chaos: this host lacks ferretdb: python -m tests.fakes.mongo_server\n"


def test_the_verdict_of_the_rounds_is_the_exit_code() -> None:
    assert [told(lambda: 0), told(lambda: 1)] == [0, 1]
