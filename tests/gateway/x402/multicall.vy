# pragma version 0.4.3
"""
@title Test Multicall
@license Apache-2.0
@notice What Multicall3 does with aggregate3, less what it returns, for chains that have no Multicall3.
"""

struct Call3:
    target: address
    allowFailure: bool
    callData: Bytes[1024]


@external
@payable
def aggregate3(calls: DynArray[Call3, 64]):
    for one: Call3 in calls:
        success: bool = raw_call(one.target, one.callData, revert_on_failure=False)
        assert success or one.allowFailure, "Multicall3: call failed"
