"""`labctl bundle`: everything that somebody who helps needs to see, without secrets."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from labctl import bundle, exits
from labctl.commands.root import LabCommand
from labctl.invocation import Invocation


@click.command(cls=LabCommand)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.pass_obj
def command(call: Invocation, file: Path | None) -> int:
    """Write a support bundle: status, doctor, settings, jobs, events, audit, logs of failed jobs; no secrets."""
    now = int(time.time())
    call.client.status()  # a daemon that is away is told before a file is made
    target = file or Path(time.strftime("labd-bundle-%Y%m%d-%H%M%S.tar.gz", time.gmtime(now)))
    part = target.with_name(target.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            names = bundle.write(call.client, out, now)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    size_kib = target.stat().st_size / 1024
    answer = {"file": str(target), "documents": names, "size_bytes": target.stat().st_size}
    call.emit(
        answer, lambda: f"{target}: {len(names)} documents, {size_kib:.0f} KiB; look through it before you send it"
    )
    return exits.DONE
