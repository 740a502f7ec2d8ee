"""What pytest-tf is measured beside: Docker, testcontainers, ssh and a plain relay."""
