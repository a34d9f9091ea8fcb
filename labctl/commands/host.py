"""`labctl host`: other daemons and their tokens."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from labctl import exits
from labctl.commands.root import LabGroup
from labctl.hosts import HostFile, host_file
from labctl.invocation import Invocation
from labctl.transport import parse_address


@click.group(cls=LabGroup)
def command() -> None:
    """Other daemons and their tokens, kept in a file that only you can read."""


@command.command()
@click.argument("name")
@click.argument("url")
@click.option("--token", help="Better --token-stdin: this one can be seen in the list of processes.")
@click.option("--token-stdin", is_flag=True, help="Read the token from standard input.")
@click.option(
    "--ca", "ca_file", type=click.Path(exists=True, dir_okay=False), help="PEM file of the certificate's issuer."
)
@click.option("--use", "choose", is_flag=True, help="Choose it for all later commands; the first one is.")
@click.pass_obj
def add(
    call: Invocation, name: str, url: str, token: str | None, token_stdin: bool, ca_file: str | None, choose: bool
) -> int:
    """Keep the daemon at URL as NAME; the same NAME again replaces it."""
    if token_stdin:
        token = sys.stdin.readline().strip() or None
    file = host_file(os.environ)
    file.add(name, url, token, str(Path(ca_file).absolute()) if ca_file else None, choose)
    address = parse_address(url)
    if token and address.kind == "http" and address.target not in ("127.0.0.1", "localhost", "::1"):
        call.tell(f"labctl: {url}: without TLS everybody on the way can read the token; use https")
    return _list(call, file)


@command.command()
@click.argument("name", required=False)
@click.option("--none", "nothing", is_flag=True, help="Go back to the usual sockets.")
@click.pass_obj
def use(call: Invocation, name: str | None, nothing: bool) -> int:
    """Choose the daemon for all later commands."""
    if (name is None) != nothing:
        raise click.UsageError("say a NAME of `labctl host list`, or --none")
    file = host_file(os.environ)
    file.use(name)
    return _list(call, file)


@command.command("list")
@click.pass_obj
def list_(call: Invocation) -> int:
    """All kept daemons; tokens are not shown."""
    return _list(call, host_file(os.environ))


@command.command()
@click.argument("name")
@click.pass_obj
def remove(call: Invocation, name: str) -> int:
    """Forget a daemon and its token."""
    file = host_file(os.environ)
    file.remove(name)
    return _list(call, file)


def _list(call: Invocation, file: HostFile) -> int:
    document = file.read()
    known = [
        {"name": name, "url": entry["url"], "token": bool(entry.get("token")), "chosen": name == document["chosen"]}
        for name, entry in sorted(document["hosts"].items())
    ]
    rows = [
        [str(one["name"]), str(one["url"]), "kept" if one["token"] else "", "*" if one["chosen"] else ""]
        for one in known
    ]
    call.listing({"hosts": known}, ["name", "url", "token", "chosen"], rows)
    return exits.DONE
