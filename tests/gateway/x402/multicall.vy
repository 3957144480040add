# pragma version 0.4.3
"""
@title Test Multicall
@license Apache-2.0
@notice What Multicall3 does with aggregate3, for chains that have no Multicall3, and results of up to a word.
"""

struct Call3:
    target: address
    allowFailure: bool
    callData: Bytes[1024]


struct Result:
    success: bool
    returnData: Bytes[32]


@external
@payable
def aggregate3(calls: DynArray[Call3, 64]) -> DynArray[Result, 64]:
    results: DynArray[Result, 64] = []
    for one: Call3 in calls:
        success: bool = False
        returned: Bytes[32] = b""
        success, returned = raw_call(one.target, one.callData, max_outsize=32, revert_on_failure=False)
        assert success or one.allowFailure, "Multicall3: call failed"
        results.append(Result(success=success, returnData=returned))
    return results
