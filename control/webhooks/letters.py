"""What owners are written about their webhooks."""

from control.mail.letters import Letter

WHY = {
    "gone": "Its receiver answered 410 Gone, which asks for no more.",
    "failing": "No attempt to reach its receiver has succeeded for five days.",
}


def disabled(owner: str, organization: str, name: str, url: str, reason: str) -> Letter:
    return Letter(
        f"A webhook of {organization} is disabled",
        f"Hello {owner},",
        f"the webhook \u201c{name}\u201d of {organization}, {url}, is not called any more. {WHY[reason]} "
        "What it misses is kept for a while: when the receiver works again, enable the webhook and replay "
        "what happened since.",
        "You get this letter because you own the organization.",
    )
