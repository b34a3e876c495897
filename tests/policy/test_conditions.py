"""What a layer's `when` may ask."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from policy.conditions import (
    CommandWhen,
    FtpWhen,
    HttpWhen,
    Imap4MailWhen,
    Pop3DocumentWhen,
    Pop3MailWhen,
    SessionWhen,
    SmtpDocumentWhen,
    SmtpMailWhen,
    When,
)


def test_a_when_without_conditions_always_holds():
    """Nothing asked is nothing refused."""
    assert HttpWhen().always
    assert HttpWhen().refuse(object()) is None
    assert not HttpWhen.model_validate({"method": "GET"}).always


@pytest.mark.parametrize(
    ("layer", "condition"),
    [
        (SessionWhen, {"user": "a"}),
        (CommandWhen, {"filename": "a"}),
        (FtpWhen, {"url": "ftp://*"}),
        (FtpWhen, {"virus-status": "found"}),
        (HttpWhen, {"virus-name": "*"}),
        (HttpWhen, {"sender": "a@b"}),
        (Pop3MailWhen, {"recipient": "a@b"}),
        (Pop3DocumentWhen, {"direction": "upload"}),
        (Imap4MailWhen, {"sender": "a@b"}),
        (SmtpMailWhen, {"content-type": "text/plain"}),
        (SmtpDocumentWhen, {"url": "http://*"}),
    ],
)
def test_a_layer_refuses_what_it_cannot_know(layer: type[When], condition: dict[str, Any]):
    """A condition whose facts the layer never has is refused, rather than never holding."""
    with pytest.raises(ValidationError):
        layer.model_validate(condition)


@pytest.mark.parametrize("condition", [{"host": []}, {"host": ""}, {"virus-status": "infected"}, {"size": 5}])
def test_a_condition_that_could_never_hold_is_refused(condition: dict[str, Any]):
    """Empty lists, empty globs and unknown words are mistakes."""
    with pytest.raises(ValidationError):
        SmtpDocumentWhen.model_validate(condition)
