"""What clients, locations and nodes agree on about images: references, descriptions, digests, compression, proofs."""
