"""A web server in front of another one. Containers cannot reach each other unless told so: `connects` opens the way."""

from __future__ import annotations

from pytest_tf import container, ready

backend = container(
    "oci:{images}/nginx:latest",
    pre_boot_files={"/usr/share/nginx/html/price": "3.50\n"},
    ready=ready.http(80, "/price"),
)

PROXY = """
server {
    listen 8080;
    location / { proxy_pass http://{backend.ip}/; proxy_connect_timeout 2s; }
}
"""

shop = container(
    "oci:{images}/nginx:latest",
    pre_boot_files={"/etc/nginx/conf.d/shop.conf": PROXY},
    connects=[backend],
    ready=ready.all_of(ready.tcp(80), ready.http(8080, "/price")),
)
