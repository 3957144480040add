"""Amounts of no named asset: millionths of a dollar, at face value, in whatever asset they are paid."""

DECIMALS = 6


def in_asset(millionths: int, decimals: int) -> int:
    """Atomic units of an asset. ``ValueError`` for what is finer than it."""
    if decimals >= DECIMALS:
        factor: int = 10 ** (decimals - DECIMALS)
        return millionths * factor
    coarser: int = 10 ** (DECIMALS - decimals)
    units, rest = divmod(millionths, coarser)
    if rest:
        raise ValueError(f"is finer than the asset, which has {decimals} decimals")
    return units


def of_asset(amount: int, decimals: int) -> int:
    """Millionths, rounded down."""
    if decimals <= DECIMALS:
        return int(amount * 10 ** (DECIMALS - decimals))
    return int(amount // 10 ** (decimals - DECIMALS))
