"""The containers' network: one interface, the real thing for Linux, and a reference without any connection.

`interface` tells the story; `linux` and `none` implement it; `uplink` is the launcher's half. Knows nothing of
containers' processes.
"""
