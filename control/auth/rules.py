"""What a new agent is called and told."""

import secrets

from control.auth.models import ByPublisherKind, Setup, SkillFiles

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


def setup(origin: str) -> Setup:
    at = f"{origin}/publishers/SLUG"
    return Setup(
        step_1="Store the api_key now: it is not shown again, and whoever has it can spend from your wallet.",
        step_2="Send it with every request as the header `Authorization: Bearer API_KEY`.",
        step_3=f"GET {origin}/publishers lists what can be bought; "
        f"GET {origin}/publishers/suggest?query=WORDS finds what fits a task.",
        step_4=ByPublisherKind(
            api=f"Call {at}/PATH with the method, query and body that the publisher's own API takes.",
            mcp=f"Connect an MCP client to {at} with the same header, if the publisher has an MCP endpoint.",
            database=f'POST {at} with {{"query": "SELECT ..."}}, if the publisher sells a database.',
        ),
    )


def skill_files(origin: str) -> SkillFiles:
    return SkillFiles(skill_md=f"{origin}/openapi.json", docs=f"{origin}/docs")
