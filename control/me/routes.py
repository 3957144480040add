from control.api.operation import Call, Room, TooLarge
from control.identity import people
from control.identity.people import Person
from control.me import rules
from control.me.models import Avatar, NewAvatar, Profile, ProfileChange
from gateway.kit.problem import Refusal

room = Room("me", "/v1/me")


class BadImage(Refusal):
    status, slug, title = 400, "bad-image", "Not an image that is taken"


@room.get(access="account.read")
async def show(call: Call) -> Profile:
    """Show your profile."""
    return profile(await myself(call))


@room.patch(access="account.write")
async def change(call: Call, *, body: ProfileChange) -> Profile:
    """Change your profile. What is not sent stays as it is."""
    if body.name is not None:
        await people.rename(call.db, call.actor.user_id, body.name)
    return profile(await myself(call))


@room.post("/avatar", access="account.write", fails=[BadImage])
async def put_avatar(call: Call, *, body: NewAvatar) -> Avatar:
    """Set your picture."""
    image = rules.image(body.data_uri)
    if image is None:
        raise BadImage("send a PNG, JPEG or WebP image as a base64 data: URL")
    if len(image) > rules.BYTES_MAX:
        raise TooLarge(f"a picture has up to {rules.BYTES_MAX} bytes")
    await people.set_avatar(call.db, call.actor.user_id, body.data_uri)
    return Avatar(image=body.data_uri)


@room.delete("/avatar", access="account.write")
async def delete_avatar(call: Call) -> Avatar:
    """Take your picture away."""
    await people.set_avatar(call.db, call.actor.user_id, None)
    return Avatar(image=None)


async def myself(call: Call) -> Person:
    person = await people.find(call.db, call.actor.user_id)
    assert person is not None, "an actor is somebody"
    return person


def profile(person: Person) -> Profile:
    return Profile(
        id=person.id,
        name=person.name,
        email=person.email or "",
        email_verified=person.is_verified,
        image=person.avatar,
        created_at=person.created_at,
        updated_at=person.updated_at,
        default_org_id=person.organization_id,
        last_sign_in=person.last_sign_in_at,
    )
