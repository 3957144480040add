"""What a new agent is called."""

import secrets

MANNERS = (
    "amber", "brisk", "calm", "candid", "clever", "cosy", "deft", "eager", "frank", "gentle", "golden",
    "hardy", "keen", "lively", "lucid", "mellow", "merry", "nimble", "patient", "plucky", "quiet", "radiant",
    "steady", "sunny", "swift", "tidy", "vivid", "warm", "wry", "zesty",
)  # fmt: skip
CREATURES = (
    "badger", "bittern", "curlew", "dipper", "dunlin", "egret", "ermine", "fieldfare", "gannet", "godwit",
    "heron", "ibex", "jackdaw", "kestrel", "lapwing", "linnet", "marten", "merlin", "nuthatch", "osprey",
    "otter", "petrel", "plover", "puffin", "redstart", "siskin", "tern", "turnstone", "wagtail", "wren",
)  # fmt: skip


def made_up_name() -> str:
    """``nimble-curlew-9f3a17``: easy to say, and hardly ever twice."""
    return f"{secrets.choice(MANNERS)}-{secrets.choice(CREATURES)}-{secrets.token_hex(3)}"
