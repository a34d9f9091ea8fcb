"""Where the MongoDB is and how labd is known there, with every secret apart, so that none reaches a log or an answer.

Why the password is put in as it stands where that gives an address: the lab's other programs replace `<db_password>` by
the variable's very text, so a password that was escaped for them must not be escaped again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus

from labd import credentials
from labd.errors import SettingsFault
from labd.settings_types import REFERENCES, MongoSettings, check_mongo_url, mongo_hosts

PLACEHOLDER = "<db_password>"
DEFAULT_URL = "env:blinded_connection_string"
DEFAULT_PASSWORD = "env:MONGODB_PASSWORD"  # noqa: S105 - a reference
FITS_AN_ADDRESS = re.compile(r"(?:[^:/?#\[\]@%\s]|%[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True)
class Address:
    """One address, complete.

    Args:
        url: As the driver takes it; secret.
        shown: Hosts and ports, for people.
        username, password: Where the url does not have them.
        secrets: Texts that must not be shown.
    """

    url: str
    shown: str
    username: str | None
    password: str | None
    secrets: tuple[str, ...]

    def clean(self, text: str) -> str:
        """A text of the driver's without any secret."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def address_of(settings: MongoSettings, environ: Mapping[str, str]) -> Address:
    """The address that the settings and the variables give together.

    Raises:
        SettingsFault: A secret is missing, or the address would show it to others on its way.
    """
    reference = settings.url or DEFAULT_URL
    url = credentials.resolve(reference, environ) if reference.startswith(REFERENCES) else reference
    secrets: list[str] = []
    password: str | None = None
    if PLACEHOLDER in url:
        password = credentials.resolve(settings.password or DEFAULT_PASSWORD, environ)
        written = password if FITS_AN_ADDRESS.fullmatch(password) else quote_plus(password)
        url = url.replace(PLACEHOLDER, written)
        secrets += [password, written]
    elif settings.username is not None and settings.password is not None:
        password = credentials.resolve(settings.password, environ)
        secrets += [password, quote_plus(password)]
    if url != settings.url:
        user = url.partition("://")[2].rpartition("@")[0]
        secrets += [url, *([user, user.partition(":")[2]] if user else [])]
    shown = ",".join(mongo_hosts(url))
    try:
        check_mongo_url(_without_user(url), settings.tls or settings.plaintext)
    except ValueError as fault:
        raise SettingsFault(f"mongo.{fault}") from None
    separate = settings.username is not None
    return Address(
        url,
        shown,
        settings.username if separate else None,
        password if separate else None,
        tuple(sorted({secret for secret in secrets if secret}, key=len, reverse=True)),
    )


def _without_user(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"
