"""Making the store and the nodes agree: what is reachable (pure), and what is done about the rest."""
