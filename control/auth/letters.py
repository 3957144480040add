"""What people are written about their accounts."""

from urllib.parse import urlencode

from control.identity.links import Kind
from control.mail.letters import Letter

NOT_YOU = "If it was not you, leave this letter: nothing happens without the link."


def link(origin: str, kind: Kind, word: str, then: str | None) -> str:
    """The page that uses it. After the #, because that part is sent to no server and is in no log."""
    return f"{origin}/auth/link#{urlencode({kind: word, **({'then': then} if then else {})})}"


def verification(name: str, url: str) -> Letter:
    return Letter(
        "Confirm your e-mail address",
        f"Hello {name},",
        "somebody signed up with this e-mail address. If it was you, confirm it within 24 hours:",
        NOT_YOU,
        "Confirm the address",
        url,
    )


def contested(name: str, url: str) -> Letter:
    return Letter(
        "Choose a password",
        f"Hello {name},",
        "your e-mail address is confirmed. Before that, somebody signed up with it more than once, with "
        "different passwords. We cannot know which one was yours, so none counts. Choose one within an hour:",
        "Later, ask for a new password where you sign in.",
        "Choose a password",
        url,
    )


def reset(name: str, url: str) -> Letter:
    return Letter(
        "Choose a new password",
        f"Hello {name},",
        "somebody asked for a new password for your account. If it was you, choose one within an hour:",
        NOT_YOU,
        "Choose a password",
        url,
    )


def sign_in(name: str, url: str) -> Letter:
    return Letter(
        "Your link to sign in",
        f"Hello {name},",
        "this link signs you in. It works once, for ten minutes:",
        NOT_YOU,
        "Sign in",
        url,
    )


def known_already(name: str) -> Letter:
    return Letter(
        "You have an account already",
        f"Hello {name},",
        "somebody tried to sign up with this e-mail address, which has an account. If it was you, sign in, "
        "or ask for a new password if you forgot yours.",
        "If it was not you, there is nothing to do: nothing was changed.",
    )


def password_changed(name: str) -> Letter:
    return Letter(
        "Your password was changed",
        f"Hello {name},",
        "the password of your account was changed just now, and every session was signed out.",
        "If it was not you, ask for a new password at once: only this mailbox can.",
    )
