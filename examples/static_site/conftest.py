"""One nginx for all tests. The page is written before nginx starts, so there is no image to build."""

from __future__ import annotations

from pytest_tf import container, ready

INDEX = "/usr/share/nginx/html/index.html"

site = container(
    "oci:{images}/nginx:latest",
    pre_boot_files={INDEX: "<h1>Bakery</h1>\n"},
    ready=ready.http(80),
)
