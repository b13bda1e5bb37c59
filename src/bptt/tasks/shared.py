"""The database in which several machines keep one search."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def database(address: str, tries: int = 5) -> BaseStorage:
    """What ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/DATABASE`` names, made ready where it is empty.

    **Raises** ``ValueError`` where there is no driver for it, or nothing that answers.
    """
    import optuna

    try:
        return optuna.storages.get_storage(address)
    except Exception as error:
        # Of several that come at once to an empty database one makes the tables, and the others find them half made.
        if tries > 1 and type(error).__name__ in ("IntegrityError", "ProgrammingError"):
            time.sleep(1 + random.random())
            return database(address, tries - 1)
        raise _refused(address, error) from None


def _refused(address: str, error: Exception) -> ValueError:
    kind, _, rest = address.partition("://")
    shown = f"{kind}://{rest.rpartition('@')[2]}"  # without a password
    if isinstance(error, ImportError):
        lacking = getattr(error.__cause__ or error.__context__, "name", None) or "its driver"
        more = "psycopg[binary]" if kind == "postgresql" else lacking
        return ValueError(f"--storage {shown} needs the package {lacking}: pip install '{more}'")
    why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ValueError(
        f"--storage {shown} cannot be opened ({why}): give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
    )
