"""What a person reads where a store does not answer, or answers no: the cause, the place and the tries, not a library's
chain of errors."""

from __future__ import annotations

import pytest

pytest.importorskip("obstore")

from labd.ingest.remote_stores import words_of

LEAD = "Generic S3 error: Error performing list request: Error performing GET "
ASKED = "http://127.0.0.1:9/lab?list-type=2&X-Amz-Signature=canary"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            f"{LEAD}{ASKED} in 521.1ms, after 4 retries, max_retries: 4, retry_timeout: 10s  - HTTP error: sending"
            ' it\n\nDebug source:\nConnectError("tcp connect error", Os { message: "Connection refused" })',
            "http://127.0.0.1:9: Connection refused, 5 tries in 0.5 s",
        ),
        (
            f"{LEAD}{ASKED} in 2.104346625s, after 1 retries, max_retries: 1, retry_timeout: 2s  - HTTP error: error"
            " sending request\n\nDebug source:\nHttpError { kind: Timeout, source: TimedOut }",
            "http://127.0.0.1:9: no answer in time, 2 tries in 2.1 s",
        ),
        (
            f'{LEAD}{ASKED} in 9ms  - HTTP error\n\nDebug source:\nCustom {{ error: "failed to lookup address" }}',
            "http://127.0.0.1:9: failed to lookup address, 1 try in 0.0 s",
        ),
        (
            f"{LEAD}{ASKED} in 731ms, after 1 retries, max_retries: 1 - HTTP\n\nDebug source:\nInvalidContentType",
            "http://127.0.0.1:9: no connection that it understands, 2 tries in 0.7 s",
        ),
        (
            f"{LEAD}{ASKED} in 9.9ms - Server returned non-2xx status code: 403 Forbidden: <Error><Code>AccessDenied"
            "</Code><Message>canary</Message></Error>\n\nDebug source: more",
            "HTTP 403 AccessDenied",
        ),
        (f"something else at {ASKED} odd", "something else at http://127.0.0.1:9/lab odd"),
    ],
)
def test_a_fault_of_a_store_is_told_in_one_line_without_what_signs_the_address(text: str, told: str) -> None:
    assert words_of(OSError(text)) == told
