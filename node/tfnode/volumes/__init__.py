"""Volumes: trees that several containers can have mounted and that may outlive their sessions."""
