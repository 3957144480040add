"""Kinds of upstream, one file each: a coroutine that sends a call on and yields the answer."""
