"""Who settles a network's payments, by its settings."""

from config.settings import Network
from gateway.kit.groups import Crowd
from gateway.kit.sql import Pool
from gateway.x402.facilitator import Facilitator
from gateway.x402.local import LocalFacilitator
from gateway.x402.remote import RemoteFacilitator


def facilitator(pool: Pool, network: Network, crowd: Crowd) -> Facilitator:
    if network.facilitator_url is not None:
        return RemoteFacilitator(pool, network, crowd)
    return LocalFacilitator(pool, network, crowd)
