from control.api.operation import Call, Created, Room
from control.api.paging import Data
from control.auth import rules
from control.auth.models import Agent, NewAgent, RegisteredAgent
from control.identity import keys, people

room = Room("auth", "/auth")


@room.post("/agent", access=None, id="agent_register", is_signup=True)
async def register_agent(call: Call, *, body: NewAgent) -> Created[Data[RegisteredAgent]]:
    """Register an agent.

    Anyone may: the answer has the agent's own organization and the API key that acts for it. The key is in
    this answer and nowhere else. An e-mail address is optional and is not verified.
    """
    name = body.name or rules.made_up_name()
    new = await people.create(call.db, "agent", name, body.email)
    call.by(new.user_id)
    call.about(new.user_id, organization_id=new.organization_id)
    mode = call.ports.mode
    _, key = await keys.issue(call.db, keys.NewKey(new.organization_id, new.user_id, "agent", "agent", mode))
    agent = Agent(
        id=new.user_id,
        name=name,
        email=body.email or "",
        email_verified=False,
        api_key=key,
        organization_id=new.organization_id,
        created_at=new.created_at,
    )
    origin = call.ports.origin
    welcome = RegisteredAgent(
        success=True,
        message=f"Welcome, {name}.",
        verification_sent=False,
        verification_required=False,
        next_step=f"Store the api_key, then add funds with POST {origin}/wallet/deposit/crypto, "
        "or pay each call by x402.",
        agent=agent,
        setup=rules.setup(origin),
        skill_files=rules.skill_files(origin),
    )
    return Created(Data(data=welcome))
