"""The part of a URL behind its question mark."""


def replaced(url: str, before: str, after: str) -> str:
    """A URL that ends with one query, or with none, with another in its place."""
    stem = url[: -len(before) - 1] if before else url
    return f"{stem}?{after}" if after else stem
