"""A location's figures for Prometheus: what is counted, how it is written, where it is served."""
