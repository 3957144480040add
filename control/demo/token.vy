# pragma version 0.4.3
"""
@title Test Dollar
@license Apache-2.0
@notice A token with EIP-3009 transfers by signed authorization, for tests and demonstrations. Worth nothing:
    whoever deploys it mints as much as they like.
"""

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    amount: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    amount: uint256

event AuthorizationUsed:
    authorizer: indexed(address)
    nonce: indexed(bytes32)

event AuthorizationCanceled:
    authorizer: indexed(address)
    nonce: indexed(bytes32)

name: public(constant(String[11])) = "Test Dollar"
symbol: public(constant(String[4])) = "TUSD"
version: public(constant(String[1])) = "1"
decimals: public(constant(uint8)) = 6

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
TRANSFER_TYPEHASH: constant(bytes32) = keccak256(
    "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
)
CANCEL_TYPEHASH: constant(bytes32) = keccak256("CancelAuthorization(address authorizer,bytes32 nonce)")

# Half the order of secp256k1. For each signature with a larger s there is a second one with a smaller s, so only
# the smaller counts: otherwise a signature could be altered without its key.
S_MAX: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168

minter: public(immutable(address))
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
# True once used or cancelled: either way the authorization is spent.
authorizationState: public(HashMap[address, HashMap[bytes32, bool]])


@deploy
def __init__():
    minter = msg.sender


@external
def mint(receiver: address, amount: uint256):
    assert msg.sender == minter, "only the deployer mints"
    assert receiver != empty(address), "receiver is the zero address"
    self.totalSupply += amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=empty(address), receiver=receiver, amount=amount)


@external
def transfer(receiver: address, amount: uint256) -> bool:
    self._move(msg.sender, receiver, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, amount=amount)
    return True


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    allowed: uint256 = self.allowance[sender][msg.sender]
    assert allowed >= amount, "amount exceeds the allowance"
    self.allowance[sender][msg.sender] = allowed - amount
    self._move(sender, receiver, amount)
    return True


@external
def transferWithAuthorization(
    sender: address,
    receiver: address,
    amount: uint256,
    validAfter: uint256,
    validBefore: uint256,
    nonce: bytes32,
    v: uint8,
    r: bytes32,
    s: bytes32,
):
    assert block.timestamp > validAfter, "authorization is not yet valid"
    assert block.timestamp < validBefore, "authorization is expired"
    message: bytes32 = keccak256(
        abi_encode(TRANSFER_TYPEHASH, sender, receiver, amount, validAfter, validBefore, nonce)
    )
    self._spend(sender, nonce, message, v, r, s)
    log AuthorizationUsed(authorizer=sender, nonce=nonce)
    self._move(sender, receiver, amount)


@external
def cancelAuthorization(authorizer: address, nonce: bytes32, v: uint8, r: bytes32, s: bytes32):
    self._spend(authorizer, nonce, keccak256(abi_encode(CANCEL_TYPEHASH, authorizer, nonce)), v, r, s)
    log AuthorizationCanceled(authorizer=authorizer, nonce=nonce)


@external
@view
def DOMAIN_SEPARATOR() -> bytes32:
    return self._domain_separator()


@internal
def _spend(authorizer: address, nonce: bytes32, message: bytes32, v: uint8, r: bytes32, s: bytes32):
    assert not self.authorizationState[authorizer][nonce], "authorization is used or canceled"
    digest: bytes32 = keccak256(concat(b"\x19\x01", self._domain_separator(), message))
    assert convert(s, uint256) <= S_MAX, "invalid signature"
    signer: address = ecrecover(digest, v, r, s)
    # A signature that recovers to nobody must not speak for the zero address.
    assert signer != empty(address) and signer == authorizer, "invalid signature"
    self.authorizationState[authorizer][nonce] = True


@internal
def _move(sender: address, receiver: address, amount: uint256):
    assert receiver != empty(address), "receiver is the zero address"
    assert self.balanceOf[sender] >= amount, "amount exceeds the balance"
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=sender, receiver=receiver, amount=amount)


@internal
@view
def _domain_separator() -> bytes32:
    # Not stored: the chain id is part of it, and a fork of the chain must not accept this one's signatures.
    return keccak256(
        abi_encode(
            DOMAIN_TYPEHASH,
            keccak256(convert(name, Bytes[11])),
            keccak256(convert(version, Bytes[1])),
            chain.id,
            self,
        )
    )
