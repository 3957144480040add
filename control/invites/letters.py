"""What people are written who are invited."""

from urllib.parse import urlencode

from control.mail.letters import Letter


def link(origin: str, kind: str, token: str) -> str:
    """The page that accepts it. After the #, because that part is sent to no server and is in no log."""
    return f"{origin}/auth/link#{urlencode({kind: token})}"


def invitation(inviter: str, what: str, role: str, url: str) -> Letter:
    return Letter(
        f"You are invited to {what}",
        "Hello,",
        f"{inviter} invites you to {what}, as {role}. Sign in, or sign up, with this e-mail address, and "
        "accept within a week:",
        "If you do not know what this is about, leave this letter: nothing happens without the link.",
        "Accept the invitation",
        url,
    )
