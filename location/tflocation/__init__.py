"""The location: the master daemon that authenticates, brokers, leases, caches images and allocates addresses."""
