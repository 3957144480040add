from typing import Annotated

from pydantic import BaseModel, Field

from control.api.fields import Email
from control.api.wording import shaped
from control.identity.welcome import Agent, Setup, SkillFiles


class SetRecoveryRequest(BaseModel, extra="forbid"):
    email: Annotated[Email | None, Field(description="Where its owner can be reached. Optional.")] = None


class RecoverySetUp(BaseModel):
    has_recovery: bool
    has_recovery_email: bool
    message: str
    recovery_code: Annotated[str | None, Field(description="24 characters, shown this once.")] = None


class RecoverRequest(BaseModel, extra="forbid"):
    recovery_code: Annotated[
        str,
        shaped(
            # As it was shown, or as somebody wrote it down.
            "^[ -]*([0-9A-TV-Za-tv-z][ -]*){24}$",
            "a recovery code: 24 letters and digits",
            max_length=100,
            description="24 characters; dashes, spaces and case do not matter.",
        ),
    ]


class Recovered(BaseModel):
    success: bool
    message: str
    agent: Annotated[Agent, Field(description="With its new API key.")]
    setup: Setup
    skill_files: SkillFiles
    new_recovery_code: Annotated[str, Field(description="The old one is void. Shown this once.")]
