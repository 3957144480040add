"""The operator's first key and login, made when an installation starts for the first time."""

from typing import Any, Literal

from asyncpg import UniqueViolationError
from pydantic import TypeAdapter, ValidationError

from config.settings import Bootstrap, SettingsError
from control.api.fields import PersonEmail
from control.auth.models import NewPassword
from control.identity import keys, passwords, people
from gateway.kit.sql import Pool
from gateway.ledger.accounts import PLATFORM


async def ensure_operator(pool: Pool, mode: Literal["live", "test"] = "live") -> str | None:
    """Return the operator's API key the first time; None ever after, also when that key was revoked."""
    async with pool.acquire() as connection, connection.transaction():
        if not await keys.lock_unless_issued(connection, PLATFORM):
            return None
        # Migration 0001 gave the platform one member, the operator, under the platform's own id.
        new = keys.NewKey(PLATFORM, PLATFORM, "operator", "user", mode)
        _, key = await keys.issue(connection, new)
    return key


async def ensure_login(pool: Pool, bootstrap: Bootstrap) -> str | None:
    """Give the operator the login that the settings name, unless they have one: returns its address."""
    if bootstrap.admin_email is None or bootstrap.admin_password is None:
        return None
    email = checked(PersonEmail, bootstrap.admin_email, "FAREBOX_BOOTSTRAP__ADMIN_EMAIL is not an address")
    password = checked(
        NewPassword,
        bootstrap.admin_password.get_secret_value(),
        f"FAREBOX_BOOTSTRAP__ADMIN_PASSWORD has fewer than {passwords.LENGTH_MIN} characters or too many",
    )
    operator = await people.find(pool, PLATFORM)
    if operator is not None and operator.password_hash is not None:
        return None
    try:
        await people.give_login(pool, PLATFORM, email, await passwords.hashed(password))
    except UniqueViolationError:
        raise SettingsError("FAREBOX_BOOTSTRAP__ADMIN_EMAIL is the address of another account") from None
    return email


def checked(kind: Any, value: str, sentence: str) -> str:
    try:
        return str(TypeAdapter(kind).validate_python(value))
    except ValidationError:
        # Without what the library says of it, which repeats it.
        raise SettingsError(sentence) from None
