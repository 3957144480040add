"""``farebox demo``: the whole product, a real EVM and a small publisher on loopback, and an agent that pays.

Each step checks what it shows. The first that does not hold ends the story, and the command with it.
"""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack

from config.settings import Listen
from control.agent.client import Reply
from control.demo import token
from control.demo.cast import DOLLAR, Stage, StepFailed, out, set_up, tell
from control.demo.publisher import CREDENTIAL
from control.supervisor import ports
from control.supervisor.ports import PortTaken
from gateway.kit.money import to_text


async def run(*, stay: bool) -> bool:
    """Tell the story; True if every step held. With ``stay``, go on serving until interrupted."""
    stop_like_interrupted()
    out.print("[bold]Farebox demo[/bold]: everything runs on this machine and is gone afterwards.\n")
    try:
        async with AsyncExitStack() as stack:
            stage = await stack.enter_async_context(set_up(usual_port() if stay else 0))
            await publish(stage)
            await pay_on_chain(stage)
            key = await sign_up_and_deposit(stage)
            await pay_from_balance(stage, key)
            await fail_for_free(stage, key)
            await read_the_wallet(stage, key)
            out.print("\n[bold green]Every step held.[/bold green]")
            if stay:
                show_around(stage, key)
                await asyncio.Event().wait()
    except StepFailed as failure:
        out.print(f"  [bold red]This did not hold:[/bold red] {failure}")
        for note in getattr(failure, "__notes__", ()):
            out.print(note, markup=False)
        return False
    return True


def usual_port() -> int:
    """The one that everything written about Farebox names, if nobody has it; otherwise any."""
    try:
        ports.listen_alone("127.0.0.1", Listen().port).close()
    except PortTaken:
        return 0
    return Listen().port


def show_around(stage: Stage, key: str) -> None:
    """What to type next."""
    call = f"{stage.shop}/weather/oslo"
    wallet = f"0x{stage.agent.private_key.hex()}"
    # As this one was typed: without its environment, nobody's shell knows it by its name.
    farebox = sys.argv[0]
    out.print(f"\nServing at {stage.origin} until Ctrl-C. In another terminal:")
    for purpose, command in (
        ("what a call costs, and how to pay", f"curl -i {call}"),
        ("from the agent's balance", f"FAREBOX_API_KEY={key} {farebox} pay {call}"),
        ("from its wallet, on chain", f"FAREBOX_PAY_KEY={wallet} {farebox} pay {call} --max-price 0.5"),
        ("its wallet", f'curl {stage.origin}/wallet/balance -H "Authorization: Bearer {key}"'),
        (
            "a key of your own",
            f"curl -X POST {stage.origin}/auth/agent -H 'content-type: application/json' -d '{{}}'",
        ),
    ):
        out.print(f"  # {purpose}", markup=False)
        out.print(f"  {command}", markup=False)
    out.print(f"All operations: {stage.origin}/docs")


def stop_like_interrupted() -> None:
    """SIGTERM ends the story as Ctrl-C does: everything that was started is stopped, and its directory is
    gone.
    """
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def publish(stage: Stage) -> None:
    signed_up = await stage.agent.ask("POST", f"{stage.origin}/auth/agent", body={"name": "Publisher"})
    expect(signed_up, 201)
    account = signed_up.json["data"]["agent"]
    listing = {
        "name": "Demo weather",
        "slug": "demo-weather",
        "publisher_category": "integration",
        "api_url": stage.upstream.url,
        "wallet_address": stage.chain.accounts[4].address,
        "wallet_network_id": stage.chain.network,
        "api_key_header": "X-Upstream-Key",
        "upstream_api_key": CREDENTIAL,
        "price_per_get": "0.25",
    }
    url = f"{stage.origin}/organizations/{account['organization_id']}/publishers"
    expect(await stage.agent.ask("POST", url, headers=bearer(account["api_key"]), body=listing), 201)
    tell("A publisher put an API behind it: 0.25 for each GET.")


async def pay_on_chain(stage: Stage) -> None:
    url = f"{stage.shop}/weather/oslo"
    # A new price is on every process within a second.
    refused = await until_published(stage, url)
    offer = refused.offers[0]
    price = f"{money(int(offer['amount']))} on {offer['network']}"
    tell(f"An agent asks without paying: [bold]402[/bold], {price}.")
    paid = await stage.agent.pay("GET", url, refused)
    expect(paid, 200)
    received = await stage.chain.balance(stage.token, stage.platform_wallet)
    check(received == DOLLAR // 4, f"the platform's wallet has {money(received)}")
    check(stage.upstream.hits == ["/weather/oslo"], f"the upstream was asked {stage.upstream.hits}")
    transaction = paid.payment["transaction"]
    tell(f"It signs a payment and asks again: [bold]200[/bold] {paid.text}")
    tell(f"  settled on chain by {transaction[:18]}…, and the answer was released after that.")


async def until_published(stage: Stage, url: str) -> Reply:
    for _ in range(40):
        reply = await stage.agent.ask("GET", url)
        if reply.status != 404:
            expect(reply, 402)
            return reply
        await asyncio.sleep(0.05)
    raise StepFailed("the publisher was not on sale after two seconds")


async def sign_up_and_deposit(stage: Stage) -> str:
    signed_up = await stage.agent.ask("POST", f"{stage.origin}/auth/agent", body={"name": "Agent"})
    expect(signed_up, 201)
    key: str = signed_up.json["data"]["agent"]["api_key"]
    url, body = f"{stage.origin}/wallet/deposit/crypto", {"amount": "1"}
    refused = await stage.agent.ask("POST", url, headers=bearer(key), body=body)
    expect(refused, 402)
    expect(await stage.agent.pay("POST", url, refused, headers=bearer(key), body=body), 200)
    tell("The agent signs up for a key and deposits 1.00 on chain.")
    return key


async def pay_from_balance(stage: Stage, key: str) -> None:
    paid = await stage.agent.ask("GET", f"{stage.shop}/weather/rome", headers=bearer(key))
    expect(paid, 200)
    left = await balance(stage, key)
    check(left == DOLLAR * 3 // 4, f"the balance is {money(left)}")
    tell(f"A call with the key is paid from the balance: [bold]200[/bold], {money(left)} left.")


async def fail_for_free(stage: Stage, key: str) -> None:
    before = await balance(stage, key)
    failed = await stage.agent.ask("GET", f"{stage.shop}/broken", headers=bearer(key))
    expect(failed, 500)
    after = await balance(stage, key)
    check(after == before, f"a failed call cost {money(before - after)}")
    tell(f"A call whose upstream fails: [bold]500[/bold], and it cost nothing: {money(after)} left.")


async def read_the_wallet(stage: Stage, key: str) -> None:
    url = f"{stage.origin}/wallet/transactions?include_usage=true"
    reply = await stage.agent.ask("GET", url, headers=bearer(key))
    expect(reply, 200)
    tell("Its wallet:")
    total = 0
    for line in reply.json["data"]["transactions"]:
        sign = 1 if line["direction"] == "credit" else -1
        total += sign * line["amount_atomic"]
        out.print(f"      {'+' if sign > 0 else '-'}{money(line['amount_atomic'])}  {line['description']}")
    left = await balance(stage, key)
    check(total == left, f"the lines add up to {money(total)}, the balance is {money(left)}")
    tell(f"  the lines add up to the balance: {money(left)}.")


async def balance(stage: Stage, key: str) -> int:
    reply = await stage.agent.ask("GET", f"{stage.origin}/wallet/balance", headers=bearer(key))
    expect(reply, 200)
    return int(reply.json["data"]["balance_atomic"])


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def money(atomic: int) -> str:
    return f"{to_text(atomic, token.DECIMALS)} {token.SYMBOL}"


def expect(reply: Reply, status: int) -> None:
    check(reply.status == status, f"the answer is {reply.status}, not {status}: {reply.text[:500]}")


def check(is_so: bool, otherwise: str) -> None:  # noqa: FBT001
    if not is_so:
        raise StepFailed(otherwise)
