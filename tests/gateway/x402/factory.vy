# pragma version 0.4.3
"""
@title Test Wallet Factory
@license Apache-2.0
@notice Deploys test wallets at addresses that are known before.
"""

blueprint: address


@deploy
def __init__(blueprint: address):
    self.blueprint = blueprint


@external
def create(owner: address, salt: bytes32) -> address:
    return create_from_blueprint(self.blueprint, owner, salt=salt)


@external
def waste(owner: address, salt: bytes32) -> address:
    spent: uint256 = 0
    for i: uint256 in range(1000000000):
        spent = convert(keccak256(convert(spent, bytes32)), uint256)
    assert spent > 0
    return empty(address)
