"""A chain of one node: a real EVM, the blocks it has mined, and the transactions that wait for their turn.

It speaks the values of JSON-RPC and knows nothing of HTTP; ``chain`` serves it. Nothing here may run on the
event loop: executing a transfer takes milliseconds.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth.abc import BlockHeaderAPI, ComputationAPI, SignedTransactionAPI, StateAPI
from eth.chains.base import MiningChain
from eth.consensus.applier import ConsensusApplier
from eth.consensus.noproof import NoProofConsensus
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.db import get_db_backend
from eth.exceptions import PyEVMError
from eth.vm.forks.prague import PragueVM
from eth.vm.message import Message
from eth_typing import Address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from control.demo.views import block_view, hexadecimal, log_views, octets, receipt_view, transaction_view

GAS_LIMIT = 30_000_000
GENESIS_BASE_FEE = 1_000_000_000
CALLER = bytes(20)
# A call may pass on 63/64 of its gas, so what a transaction used is a little less than it needs.
ESTIMATE_PERCENT = 120


class RpcError(Exception):
    """An error as JSON-RPC shows it."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class UnhurriedVM(PragueVM):
    """Prague, except that blocks may share a second, as they do on rollups.

    A block for each transaction and a second for each block would run ahead of the clock by which signatures
    expire.
    """

    @classmethod
    def validate_header(cls, header: BlockHeaderAPI, parent_header: BlockHeaderAPI) -> None:
        if header.timestamp == parent_header.timestamp:
            header = header.copy(timestamp=parent_header.timestamp + 1)
        super().validate_header(header, parent_header)


class Node:
    """Not for concurrent use."""

    def __init__(self, chain_id: int, balances: Mapping[bytes, int]) -> None:
        vms = ConsensusApplier(NoProofConsensus).amend_vm_configuration(((0, UnhurriedVM),))
        # The library offers class attributes as the only place for these two.
        configured = type("DemoChain", (MiningChain,), {"chain_id": chain_id, "vm_configuration": vms})
        genesis = {"difficulty": 0, "gas_limit": GAS_LIMIT, "timestamp": int(time.time())}
        alloc = {
            Address(address): {"balance": balance, "nonce": 0, "code": b"", "storage": {}}
            for address, balance in balances.items()
        }
        self.chain: MiningChain = configured.from_genesis(get_db_backend(), genesis, alloc)  # type: ignore[attr-defined]
        self.is_automining = True
        self.headers = [self.chain.get_canonical_head()]
        self.blocks = [block_view(self.chain.get_canonical_block_by_number(self.headers[0].block_number))]
        self.transactions: dict[str, dict[str, Any]] = {}
        self.receipts: dict[str, dict[str, Any]] = {}
        self.logs: list[dict[str, Any]] = []
        self.waiting: defaultdict[bytes, dict[int, SignedTransactionAPI]] = defaultdict(dict)

    def send(self, raw: bytes) -> str:
        """Take a signed transaction; it is mined at once unless an earlier one of its sender is missing."""
        try:
            transaction = self.chain.get_vm().get_transaction_builder().decode(raw)
            transaction.validate()
            transaction.check_signature_validity()
            sender = transaction.sender
        except (ValidationError, rlp.DecodingError, PyEVMError, ValueError, TypeError) as error:
            raise RpcError(-32000, f"invalid transaction: {error}") from None
        self.admit(transaction, sender)
        self.waiting[sender][transaction.nonce] = transaction
        self.transactions[hexadecimal(transaction.hash)] = transaction_view(transaction, None)
        if self.is_automining:
            self.mine_waiting()
        return hexadecimal(transaction.hash)

    def admit(self, transaction: SignedTransactionAPI, sender: bytes) -> None:
        state = self.state("latest")
        if hexadecimal(transaction.hash) in self.transactions:
            raise RpcError(-32000, "already known")
        if transaction.chain_id != self.chain.chain_id:
            raise RpcError(-32000, "invalid chain id for signer")
        if transaction.nonce < state.get_nonce(Address(sender)):
            raise RpcError(-32000, "nonce too low")
        waiting = self.waiting[sender].get(transaction.nonce)
        if waiting is not None and transaction.max_fee_per_gas * 10 < waiting.max_fee_per_gas * 11:
            raise RpcError(-32000, "replacement transaction underpriced")
        if transaction.gas > GAS_LIMIT or transaction.gas < transaction.intrinsic_gas:
            raise RpcError(-32000, "intrinsic gas too low or gas limit exceeded")
        cost = transaction.gas * transaction.max_fee_per_gas + transaction.value
        if state.get_balance(Address(sender)) < cost:
            raise RpcError(-32000, "insufficient funds for gas * price + value")

    def mine_waiting(self) -> None:
        """Mine a block for each transaction that can run, until none can."""
        while (ready := next(self.executable(), None)) is not None:
            sender, transaction = ready
            del self.waiting[sender][transaction.nonce]
            try:
                self.mine([transaction])
            except ValidationError:
                # Its sender spent the gas money in between: a node drops such a transaction, too.
                del self.transactions[hexadecimal(transaction.hash)]

    def executable(self) -> Iterator[tuple[bytes, SignedTransactionAPI]]:
        pending = self.state("pending")
        base_fee = self.next_header().base_fee_per_gas or 0
        for sender, transactions in self.waiting.items():
            transaction = transactions.get(pending.get_nonce(Address(sender)))
            if transaction is not None and transaction.max_fee_per_gas >= base_fee:
                yield sender, transaction

    def mine(self, transactions: list[SignedTransactionAPI]) -> None:
        self.chain.header = self.next_header()
        imported, receipts, computations = self.chain.mine_all(transactions)
        block = imported.imported_block
        self.headers.append(block.header)
        self.blocks.append(block_view(block))
        gas_before, logs_before = 0, len(self.logs)
        for position, (receipt, computation) in enumerate(zip(receipts, computations, strict=True)):
            transaction = transactions[position]
            shown = transaction_view(transaction, block.header, position)
            logs = log_views(receipt, shown, first_index=len(self.logs) - logs_before)
            self.transactions[shown["hash"]] = shown
            self.receipts[shown["hash"]] = receipt_view(
                receipt, gas_before, block.header.base_fee_per_gas or 0, computation, shown, logs
            )
            self.logs += logs
            gas_before = receipt.gas_used

    def next_header(self) -> BlockHeaderAPI:
        head = self.headers[-1]
        now = max(head.timestamp, int(time.time()))
        return self.chain.create_header_from_parent(head, timestamp=now, gas_limit=head.gas_limit)

    def state(self, block: str) -> StateAPI:
        """Accounts and contracts as of a block. The latest ones see the clock as the next block will."""
        if block in ("latest", "pending", "safe", "finalized"):
            return self.chain.get_vm(self.next_header()).state
        return self.chain.get_vm(self.headers[self.number(block)]).state

    def number(self, block: str) -> int:
        if block == "earliest":
            return 0
        if block in ("latest", "pending", "safe", "finalized"):
            return len(self.blocks) - 1
        number = int(block, 16)
        if number >= len(self.blocks):
            raise RpcError(-32001, "unknown block")
        return number

    def nonce(self, address: bytes, block: str) -> int:
        nonce = self.state(block).get_nonce(Address(address))
        if block == "pending":
            while nonce in self.waiting[address]:
                nonce += 1
        return nonce

    def call(self, request: Mapping[str, Any], block: str) -> bytes:
        return self.execute(request, block).output

    def estimate(self, request: Mapping[str, Any], block: str) -> int:
        computation = self.execute(request, block)
        data = octets(request.get("input", request.get("data", "0x")))
        zeros = data.count(0)
        intrinsic = 21_000 + 16 * (len(data) - zeros) + 4 * zeros
        if request.get("to") is None:
            intrinsic += 32_000 + 2 * (len(data) // 32 + 1)
        return (intrinsic + computation.get_gas_used()) * ESTIMATE_PERCENT // 100

    def execute(self, request: Mapping[str, Any], block: str) -> ComputationAPI:
        """Run a call whose effects nobody keeps, and raise what it raised."""
        state = self.state(block)
        sender = Address(octets(request["from"]) if request.get("from") else CALLER)
        data = octets(request.get("input", request.get("data", "0x")))
        to = Address(octets(request["to"]) if request.get("to") else CREATE_CONTRACT_ADDRESS)
        is_creation = to == CREATE_CONTRACT_ADDRESS
        address = created(sender, state.get_nonce(sender)) if is_creation else None
        message = Message(
            gas=int(request.get("gas", hex(GAS_LIMIT)), 16),
            to=to,
            sender=sender,
            value=int(request.get("value", "0x0"), 16),
            data=b"" if is_creation else data,
            code=data if is_creation else state.get_code(to),
            create_address=address,  # type: ignore[arg-type]  # None is its default.
        )
        context = state.get_transaction_context_class()(gas_price=0, origin=sender)
        evm = state.computation_class
        run = evm.apply_create_message if is_creation else evm.apply_message
        computation = run(state, message, context)
        if computation.is_error:
            raise failure(computation)
        return computation


def failure(computation: ComputationAPI) -> RpcError:
    output = computation.output
    if type(computation.error).__name__ != "Revert":
        return RpcError(-32000, f"{type(computation.error).__name__}: {computation.error}")
    if output[:4] != keccak(text="Error(string)")[:4]:
        return RpcError(3, "execution reverted", hexadecimal(output))
    length = int.from_bytes(output[36:68])
    reason = output[68 : 68 + length].decode(errors="replace")
    return RpcError(3, f"execution reverted: {reason}", hexadecimal(output))


def created(sender: bytes, nonce: int) -> Address:
    """The address of the contract that an account's transaction makes."""
    return Address(keccak(rlp.encode([sender, nonce]))[12:])
