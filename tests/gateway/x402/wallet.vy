# pragma version 0.4.3
"""
@title Test Wallet
@license Apache-2.0
@notice A contract that pays: its owner's signature is its own (ERC-1271), with any bytes after the first 65.
"""

owner: public(address)

MAGIC: constant(bytes4) = 0x1626ba7e


@deploy
def __init__(owner: address):
    self.owner = owner


@external
@view
def isValidSignature(digest: bytes32, signature: Bytes[4096]) -> bytes4:
    assert len(signature) >= 65, "too short"
    r: bytes32 = convert(slice(signature, 0, 32), bytes32)
    s: bytes32 = convert(slice(signature, 32, 32), bytes32)
    v: uint8 = convert(slice(signature, 64, 1), uint8)
    signer: address = ecrecover(digest, v, r, s)
    if signer == empty(address) or signer != self.owner:
        return 0xffffffff
    return MAGIC
