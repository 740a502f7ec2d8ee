"""How long sessions and nodes live: a pure machine that decides, and a runner that carries out."""
