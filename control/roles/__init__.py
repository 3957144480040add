"""The composition root: what each process is made of, and in what order it starts and stops.

``serve`` answers requests, as the gateway, the management API, or both on one port. ``work`` does what nobody
waits for. Every part is given its slice of the settings here and nowhere else.
"""
