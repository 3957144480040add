"""The JSON-RPC methods of the demonstration chain."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eth_typing import Address
from eth_utils.exceptions import ValidationError

from control.demo.evm import Node, RpcError
from control.demo.views import hexadecimal, octets

TIP = 1_000_000_000


def answer(node: Node, request: object) -> object:
    """Answer one request, or a batch of them in its order. An error is an answer, too."""
    if isinstance(request, list):
        return [answer(node, one) for one in request]
    if not isinstance(request, dict):
        return {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "invalid request"}}
    head = {"jsonrpc": "2.0", "id": request.get("id")}
    try:
        return {**head, "result": result(node, request.get("method"), request.get("params") or [])}
    except RpcError as error:
        shown = {"code": error.code, "message": str(error)}
        return {**head, "error": shown if error.data is None else {**shown, "data": error.data}}


def result(node: Node, method: object, params: object) -> object:
    if not isinstance(method, str) or method not in METHODS:
        raise RpcError(-32601, f"the method {method} does not exist")
    if not isinstance(params, list):
        raise RpcError(-32602, "params are not a list")
    try:
        return METHODS[method](node, *params)
    except (TypeError, ValueError, KeyError, AttributeError, ValidationError) as error:
        # The parameters are somebody else's JSON: whatever they break, they are at fault.
        raise RpcError(-32602, f"invalid params: {error}") from None


def client_version(node: Node) -> str:
    return "farebox-demo"


def net_version(node: Node) -> str:
    return str(node.chain.chain_id)


def chain_id(node: Node) -> str:
    return hex(node.chain.chain_id)


def block_number(node: Node) -> str:
    return hex(len(node.blocks) - 1)


def block_by_number(node: Node, block: str, is_full: Any = None) -> dict[str, Any] | None:
    if block.startswith("0x") and int(block, 16) >= len(node.blocks):
        return None
    found = node.blocks[node.number(block)]
    if not is_full:
        return found
    return {**found, "transactions": [node.transactions[one] for one in found["transactions"]]}


def balance(node: Node, address: str, block: str = "latest") -> str:
    return hex(node.state(block).get_balance(Address(octets(address))))


def code(node: Node, address: str, block: str = "latest") -> str:
    return hexadecimal(node.state(block).get_code(Address(octets(address))))


def transaction_count(node: Node, address: str, block: str = "latest") -> str:
    return hex(node.nonce(octets(address), block))


def call(node: Node, request: Mapping[str, Any], block: str = "latest") -> str:
    return hexadecimal(node.call(request, block))


def estimate_gas(node: Node, request: Mapping[str, Any], block: str = "latest") -> str:
    return hex(node.estimate(request, block))


def gas_price(node: Node) -> str:
    return hex((node.next_header().base_fee_per_gas or 0) + TIP)


def tip(node: Node) -> str:
    return hex(TIP)


def fee_history(
    node: Node, count: str | int, newest: str, percentiles: Sequence[float] = ()
) -> dict[str, Any]:
    last = node.number(newest)
    length = int(count, 16) if isinstance(count, str) else count
    first = max(0, last - length + 1)
    shown = [node.blocks[number] for number in range(first, last + 1)]
    after = node.blocks[last + 1]["baseFeePerGas"] if last + 1 < len(node.blocks) else next_base_fee(node)
    return {
        "oldestBlock": hex(first),
        "baseFeePerGas": [*(block["baseFeePerGas"] for block in shown), after],
        "gasUsedRatio": [int(block["gasUsed"], 16) / int(block["gasLimit"], 16) for block in shown],
        "reward": [[hex(TIP)] * len(percentiles) for _ in shown],
    }


def next_base_fee(node: Node) -> str:
    return hex(node.next_header().base_fee_per_gas or 0)


def send_raw_transaction(node: Node, raw: str) -> str:
    return node.send(octets(raw))


def transaction_receipt(node: Node, hash: str) -> dict[str, Any] | None:
    return node.receipts.get(hash.lower())


def transaction_by_hash(node: Node, hash: str) -> dict[str, Any] | None:
    return node.transactions.get(hash.lower())


def logs(node: Node, query: Mapping[str, Any]) -> list[dict[str, Any]]:
    first = node.number(query.get("fromBlock", "latest"))
    last = block_limit(node, query.get("toBlock", "latest"))
    return [
        log for log in node.logs if first <= int(log["blockNumber"], 16) <= last and is_wanted(log, query)
    ]


def block_limit(node: Node, block: str) -> int:
    """The end of a range may lie in the future."""
    return int(block, 16) if block.startswith("0x") else node.number(block)


def is_wanted(log: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
    if not matches(log["address"], query.get("address")):
        return False
    wanted = query.get("topics", [])
    topics = log["topics"]
    return len(wanted) <= len(topics) and all(map(matches, topics, wanted))


def matches(value: str, wanted: str | list[str] | None) -> bool:
    """None is anything, a list is any of it."""
    if wanted is None:
        return True
    return value in [one.lower() for one in ([wanted] if isinstance(wanted, str) else wanted)]


def set_automine(node: Node, is_on: Any) -> bool:
    node.is_automining = bool(is_on)
    return True


def mine(node: Node) -> str:
    """Mine what waits, and an empty block when nothing does."""
    before = len(node.blocks)
    node.mine_waiting()
    if len(node.blocks) == before:
        node.mine([])
    return "0x0"


METHODS: Mapping[str, Callable[..., object]] = {
    "eth_blockNumber": block_number,
    "eth_call": call,
    "eth_chainId": chain_id,
    "eth_estimateGas": estimate_gas,
    "eth_feeHistory": fee_history,
    "eth_gasPrice": gas_price,
    "eth_getBalance": balance,
    "eth_getBlockByNumber": block_by_number,
    "eth_getCode": code,
    "eth_getLogs": logs,
    "eth_getTransactionByHash": transaction_by_hash,
    "eth_getTransactionCount": transaction_count,
    "eth_getTransactionReceipt": transaction_receipt,
    "eth_maxPriorityFeePerGas": tip,
    "eth_sendRawTransaction": send_raw_transaction,
    # These two are what other development chains call them.
    "evm_mine": mine,
    "evm_setAutomine": set_automine,
    "net_version": net_version,
    "web3_clientVersion": client_version,
}
