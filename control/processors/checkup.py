"""What ``farebox doctor`` says of Stripe and Polar: whether their settings fit, and whether they answer."""

from collections.abc import AsyncIterator, Iterator

import aiohttp

from config.settings import Settings
from control.finding import Finding
from control.roles.base import Misconfigured
from control.roles.charging import deposited, sold_for

TIMEOUT = aiohttp.ClientTimeout(total=5)
STRIPE = "https://api.stripe.com"
POLAR = {"production": "https://api.polar.sh", "sandbox": "https://sandbox-api.polar.sh"}


async def processors(settings: Settings) -> AsyncIterator[Finding]:
    for flaw in stripe_flaws(settings):
        yield flaw
    for flaw in polar_flaws(settings):
        yield flaw
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        if settings.stripe.secret_key is not None:
            url = f"{settings.stripe.api_base or STRIPE}/v1/payment_intents?limit=1"
            yield await ask(session, "stripe", url, settings.stripe.secret_key.get_secret_value())
        if settings.polar.access_token is not None:
            base = settings.polar.api_base or POLAR[settings.polar.environment]
            url = f"{base}/v1/orders/?page=1&limit=1"
            yield await ask(session, "polar", url, settings.polar.access_token.get_secret_value())


def stripe_flaws(settings: Settings) -> Iterator[Finding]:
    stripe = settings.stripe
    if stripe.secret_key is None:
        if stripe.webhook_secrets or stripe.publishable_key:
            remedy = "Set FAREBOX_STRIPE__SECRET_KEY, or take the others away."
            yield Finding("stripe", "something of it is set, and no secret key", remedy)
        else:
            yield Finding("stripe", "not configured: it takes no cards here")
        return
    if not stripe.webhook_secrets:
        remedy = "Set FAREBOX_STRIPE__WEBHOOK_SECRETS to that of your endpoint /webhooks/stripe."
        yield Finding("stripe", "there is no webhook secret: nothing that is paid would be credited", remedy)
    if stripe.publishable_key and not stripe.publishable_key.startswith(f"pk_{stripe.mode}_"):
        remedy = "Take both keys from the same page of Stripe's."
        yield Finding(
            "stripe", f"the secret key is of {stripe.mode} money, the publishable one is not", remedy
        )
    try:
        deposited(settings, "STRIPE", stripe.mode, stripe.asset)
    except Misconfigured as error:
        yield Finding("stripe", str(error), "Name such a network, or take the key of the other mode.")


def polar_flaws(settings: Settings) -> Iterator[Finding]:
    polar = settings.polar
    if polar.access_token is None:
        if polar.webhook_secrets or polar.product_id or polar.products:
            remedy = "Set FAREBOX_POLAR__ACCESS_TOKEN, or take the others away."
            yield Finding("polar", "something of it is set, and no access token", remedy)
        else:
            yield Finding("polar", "not configured: it sells nothing here")
        return
    if not polar.webhook_secrets:
        remedy = "Set FAREBOX_POLAR__WEBHOOK_SECRETS to that of your endpoint /webhooks/polar."
        yield Finding("polar", "there is no webhook secret: nothing that is paid would be told", remedy)
    if polar.product_id is None and not polar.products:
        remedy = "Set FAREBOX_POLAR__PRODUCT_ID for deposits, FAREBOX_POLAR__PRODUCTS for plans."
        yield Finding("polar", "there is no product that it could sell", remedy)
    try:
        deposited(settings, "POLAR", polar.mode, polar.asset)
    except Misconfigured as error:
        yield Finding("polar", str(error), "Name such a network, or choose the other environment.")
    yield from product_flaws(settings)


def product_flaws(settings: Settings) -> Iterator[Finding]:
    polar = settings.polar
    prices = {plan.id: plan.price_cents for plan in settings.plans}
    if unknown := [name for name in polar.products if not prices.get(name)]:
        remedy = "Correct FAREBOX_POLAR__PRODUCTS, or FAREBOX_PLANS."
        detail = f"there are products for what is no plan that costs something: {', '.join(unknown)}"
        yield Finding("polar", detail, remedy)
    if polar.products and not sold_for(settings).products:
        remedy = "Set FAREBOX_POLAR__ENVIRONMENT for the money of FAREBOX_NETWORKS."
        yield Finding("polar", f"plans are not sold: {polar.environment} is of other money", remedy)


async def ask(session: aiohttp.ClientSession, subject: str, url: str, secret: str) -> Finding:
    """Something small that the key has to be good for. A machine without a way out is no error."""
    try:
        async with session.get(url, headers={"Authorization": f"Bearer {secret}"}) as response:
            status = response.status
    except (aiohttp.ClientError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        return Finding(subject, f"cannot be reached from here now ({reason}); what needs it waits")
    if status == 401:
        return Finding(subject, "it is reached, and does not know the key", "Make a new key there.")
    if status == 403:
        return Finding(subject, "it is reached, and the key may not read payments", "Let the key do more.")
    return Finding(subject, "it is reached" + ("" if status < 400 else f", and answers {status}"))
