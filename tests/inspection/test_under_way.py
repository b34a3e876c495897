"""What is told of transfers that have not ended."""

from __future__ import annotations

from inspection.under_way import MOST, UnderWay, tell_all


class Work:
    """A download of that URL."""

    def __init__(self, url: str | None) -> None:
        self._url = url

    def tell(self) -> UnderWay:
        return UnderWay(
            id="i", client="c", object=self._url, direction="download", received=1, sent=0, phase="checking", age=1.26
        )


def test_plain_data_without_queries():
    """Each that can tell is a mapping; queries and passwords stay away, and long names are cut."""
    told = tell_all("p", [Work("http://u:pw@h/a?token=1"), object(), Work(None), Work("/" + "x" * 5000)])
    assert told[0] == {
        "proxy": "p",
        "id": "i",
        "client": "c",
        "object": "http://h/a",
        "direction": "download",
        "received": 1,
        "sent": 0,
        "phase": "checking",
        "age": 1.3,
    }
    assert told[1]["object"] is None
    assert len(told[2]["object"]) < 2100
    assert len(told) == 3


def test_there_is_a_most():
    """More than anybody reads are not collected."""
    assert len(tell_all("p", [Work("/a")] * (MOST + 5))) == MOST
