"""What it takes to read a source and to write a table: settings and definition together, secrets resolved now.

Why at the moment of use: nothing that was resolved is kept, so a rotated secret counts with the next call.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from labd.credentials import resolve
from labd.errors import LabdError, SettingsFault, SourceRefused, TableRefused
from labd.ingest.definition import Destination, Source
from labd.ingest.port import CatalogAccess, SourceAccess, TableName
from labd.ingest.settings import OWN_CATALOG, CatalogSettings, IngestSettings

SETTINGS_FOLDER = Path("/etc/labd")


def source_access(
    source: Source, settings: IngestSettings, state_dir: Path, environ: Mapping[str, str] | None = None
) -> SourceAccess:
    """How the source of a definition is read.

    Raises:
        SourceRefused: The settings have no such credentials, or a secret is not there; names the reference only. Or it
            is a folder of labd's own: who may operate labd need not know its databases, settings and secrets.
    """
    _keep_own(source, state_dir, os.environ if environ is None else environ)
    given = settings.credentials.get(source.credentials) if source.credentials is not None else None
    if source.credentials is not None and given is None:
        raise SourceRefused(
            f"{source.url}: no table [ingest.credentials.{source.credentials}] in the settings; add it and reload",
            source=source.url, credentials=source.credentials,
        )  # fmt: skip
    secrets: dict[str, str] = {}
    if given is not None:
        where = f"{source.url}: [ingest.credentials.{source.credentials}]"
        secrets = _resolved(given.secrets, where, SourceRefused, environ)
    return SourceAccess(
        url=source.url, pattern=source.pattern, exclude=source.exclude,
        options={**(given.options if given is not None else {}), **source.options}, secrets=secrets,
        settle_s=source.settle_s, marker=source.marker,
    )  # fmt: skip


def _keep_own(source: Source, state_dir: Path, environ: Mapping[str, str]) -> None:
    """Refuse what lies in labd's own folders, or has them in it, links followed."""
    parts = urlsplit(source.url)
    if parts.scheme not in ("", "file"):
        return
    folder = Path(unquote(parts.path)).resolve()
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    state = state_dir.resolve()
    closed = [catalog_folder(state), SETTINGS_FOLDER, *([Path(credentials).resolve()] if credentials else [])]
    for own in (state, *closed):
        if own.is_relative_to(folder) or (own is not state and folder.is_relative_to(own)):
            raise SourceRefused(
                f"{source.url}: {own} is labd's own and no source; let files arrive in a folder beside it",
                source=source.url,
            )


def table_name(
    destination: Destination, settings: IngestSettings, state_dir: Path, environ: Mapping[str, str] | None = None
) -> TableName:
    """How the table of a definition is reached.

    Raises:
        TableRefused: As `catalog_access`.
    """
    return TableName(
        catalog=catalog_access(destination.catalog, settings, state_dir, environ), namespace=destination.namespace,
        table=destination.table, partition_by=destination.partition_by,
    )  # fmt: skip


def catalog_access(
    name: str, settings: IngestSettings, state_dir: Path, environ: Mapping[str, str] | None = None
) -> CatalogAccess:
    """How a catalogue is reached; `default`, where the settings say nothing else, is labd's own in the state folder.

    Raises:
        TableRefused: The settings have no such catalogue, or a secret is not there; names the reference only.
    """
    given = settings.catalog.get(name)
    if given is None:
        if name != OWN_CATALOG:
            text = f"catalogue {name}: no table [ingest.catalog.{name}] in the settings; add it and reload"
            raise TableRefused(text, catalog=name)
        given = CatalogSettings()
    properties = dict(given.properties)
    properties["type"] = given.type
    if given.type == "sql" and not given.uri and "uri" not in given.secrets:
        folder = catalog_folder(state_dir)
        properties["uri"] = f"sqlite:///{folder / 'catalog.db'}"
        properties["warehouse"] = given.warehouse or (folder / "warehouse").as_uri()
    else:
        properties.update({key: value for key, value in (("uri", given.uri), ("warehouse", given.warehouse)) if value})
    return CatalogAccess(
        name=name, properties=properties,
        secrets=_resolved(given.secrets, f"catalogue {name}: [ingest.catalog.{name}]", TableRefused, environ),
    )  # fmt: skip


def catalog_folder(state_dir: Path) -> Path:
    """Where labd's own catalogue and its tables are."""
    return state_dir.absolute() / "ingest"


def _resolved(
    references: Mapping[str, str], where: str, kind: type[LabdError], environ: Mapping[str, str] | None
) -> dict[str, str]:
    secrets: dict[str, str] = {}
    for key, reference in references.items():
        try:
            secrets[key] = resolve(reference, environ)
        except SettingsFault as fault:
            raise kind(f"{where} secrets.{key}: {fault.message}", reference=reference) from fault
    return secrets
