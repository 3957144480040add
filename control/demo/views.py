"""Blocks, transactions and receipts as JSON-RPC shows them."""

from collections.abc import Mapping
from typing import Any

from eth.abc import BlockAPI, BlockHeaderAPI, ComputationAPI, ReceiptAPI, SignedTransactionAPI


def hexadecimal(octets: bytes) -> str:
    return "0x" + octets.hex()


def octets(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def block_view(block: BlockAPI) -> dict[str, Any]:
    header = block.header
    return {
        "number": hex(header.block_number),
        "hash": hexadecimal(header.hash),
        "parentHash": hexadecimal(header.parent_hash),
        "timestamp": hex(header.timestamp),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "baseFeePerGas": hex(header.base_fee_per_gas or 0),
        "miner": hexadecimal(header.coinbase),
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "nonce": hexadecimal(header.nonce),
        "mixHash": hexadecimal(header.mix_hash),
        "extraData": hexadecimal(header.extra_data),
        "logsBloom": bloom(header.bloom),
        "stateRoot": hexadecimal(header.state_root),
        "receiptsRoot": hexadecimal(header.receipt_root),
        "transactionsRoot": hexadecimal(header.transaction_root),
        "sha3Uncles": hexadecimal(header.uncles_hash),
        "uncles": [],
        "size": "0x0",
        "transactions": [hexadecimal(transaction.hash) for transaction in block.transactions],
    }


def transaction_view(
    transaction: SignedTransactionAPI, header: BlockHeaderAPI | None, index: int = 0
) -> dict[str, Any]:
    """A transaction that still waits has no header."""
    type_id = transaction.type_id or 0
    fees = {"gasPrice": hex(transaction.max_fee_per_gas)}
    if type_id >= 2:
        fees["maxFeePerGas"] = hex(transaction.max_fee_per_gas)
        fees["maxPriorityFeePerGas"] = hex(transaction.max_priority_fee_per_gas)
    return {
        "hash": hexadecimal(transaction.hash),
        "type": hex(type_id),
        "chainId": hex(transaction.chain_id or 0),
        "nonce": hex(transaction.nonce),
        "from": hexadecimal(transaction.sender),
        "to": hexadecimal(transaction.to) if transaction.to else None,
        "value": hex(transaction.value),
        "gas": hex(transaction.gas),
        "input": hexadecimal(transaction.data),
        "r": hex(transaction.r),
        "s": hex(transaction.s),
        "v": hex(transaction.y_parity),
        "blockHash": hexadecimal(header.hash) if header else None,
        "blockNumber": hex(header.block_number) if header else None,
        "transactionIndex": hex(index) if header else None,
        **fees,
    }


def log_views(receipt: ReceiptAPI, transaction: Mapping[str, Any], first_index: int) -> list[dict[str, Any]]:
    place = {name: transaction[name] for name in ("blockHash", "blockNumber", "transactionIndex")}
    return [
        {
            "address": hexadecimal(log.address),
            "topics": [hexadecimal(topic.to_bytes(32)) for topic in log.topics],
            "data": hexadecimal(log.data),
            "logIndex": hex(first_index + position),
            "transactionHash": transaction["hash"],
            "removed": False,
            **place,
        }
        for position, log in enumerate(receipt.logs)
    ]


def receipt_view(
    receipt: ReceiptAPI,
    gas_used_before: int,
    base_fee: int,
    computation: ComputationAPI,
    transaction: Mapping[str, Any],
    logs: list[dict[str, Any]],
) -> dict[str, Any]:
    fee_max = int(transaction["gasPrice"], 16)
    tip = int(transaction.get("maxPriorityFeePerGas", hex(fee_max)), 16)
    created = hexadecimal(computation.msg.storage_address) if transaction["to"] is None else None
    return {
        "transactionHash": transaction["hash"],
        "status": "0x1" if computation.is_success else "0x0",
        "contractAddress": created if computation.is_success else None,
        "cumulativeGasUsed": hex(receipt.gas_used),
        "gasUsed": hex(receipt.gas_used - gas_used_before),
        "effectiveGasPrice": hex(min(fee_max, base_fee + tip)),
        "logs": logs,
        "logsBloom": bloom(receipt.bloom),
        **{
            name: transaction[name]
            for name in ("blockHash", "blockNumber", "transactionIndex", "from", "to", "type")
        },
    }


def bloom(bits: int) -> str:
    return hexadecimal(bits.to_bytes(256))
