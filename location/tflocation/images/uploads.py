"""The location's half of an upload: what of an offered image is needed, the checking of proofs, the last step.

    offer    per layer: have it (this account has shown possession), prove it (somebody else brought it), or send it
    prove    the answer to a challenge makes the layer this account's as well, without a byte of it travelling
    receive  the bytes of a layer
    finish   all layers are there: the image is described for the account

An upload can be broken off anywhere and offered again; only what is still missing is then asked for. Between offer and
finish the layers are pinned. Who connects is a `holder` (a session): when it ends, `abandon` it. The methods may run for
long and in several threads. Knows no sockets and no messages; the client's half is `tfnz.images.upload`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from tfcore.errors import BadImage, Refused, WrongState
from tfcore.images.description import ImageDescription, Layer, parse_config
from tfcore.images.digest import digest_of
from tfcore.images.exchange import LayerNeed, Need
from tfcore.images.possession import new_nonce, proof_of, same_proof
from tflocation.images.cache import ImageCache

log = logging.getLogger(__name__)

OPEN_OFFERS = 64
"""Unfinished offers one holder may have; the oldest is forgotten for another."""


class Uploads:
    """All uploads of one location."""

    def __init__(self, cache: ImageCache, *, nonces: Callable[[], bytes] = new_nonce) -> None:
        self._cache = cache
        self._nonces = nonces
        self._lock = threading.Lock()
        self._offers: dict[str, dict[str, frozenset[str]]] = {}
        self._challenges: dict[tuple[str, str], bytes] = {}

    def offer(self, account: str, holder: str, config: bytes, diff_ids: Sequence[str]) -> tuple[LayerNeed, ...]:
        """What is needed before the image can be used, once per different layer.

        Args:
            account: who offers.
            holder: the session the offer belongs to.
            config: the image config's JSON.
            diff_ids: its layers; must be those the config names.

        Raises:
            BadImage: the config cannot be used, or names other layers.
        """
        layers = _layers_of(config, diff_ids)
        self._open(holder, digest_of(config), frozenset(layers))
        return tuple(self._need(account, holder, diff_id) for diff_id in dict.fromkeys(layers))

    def _open(self, holder: str, image: str, layers: frozenset[str]) -> None:
        """Pinned before anything is looked up, so that what we say we have stays."""
        self._cache.pin(_pin(holder, image), layers)
        with self._lock:
            offers = self._offers.setdefault(holder, {})
            offers[image] = layers
            stale = next(iter(offers)) if len(offers) > OPEN_OFFERS else None
        if stale is not None:
            self._close(holder, stale)

    def _close(self, holder: str, image: str) -> None:
        with self._lock:
            layers = self._offers.get(holder, {}).pop(image, frozenset())
            for diff_id in layers:
                self._challenges.pop((holder, diff_id), None)
        self._cache.unpin(_pin(holder, image))

    def _need(self, account: str, holder: str, diff_id: str) -> LayerNeed:
        if self._cache.possesses(account, diff_id):
            return LayerNeed(diff_id=diff_id, need=Need.HAVE)
        if not self._cache.has(diff_id):
            return LayerNeed(diff_id=diff_id, need=Need.SEND)
        nonce = self._nonces()
        with self._lock:
            self._challenges[holder, diff_id] = nonce
        return LayerNeed(diff_id=diff_id, need=Need.PROVE, nonce=nonce)

    def prove(self, account: str, holder: str, diff_id: str, nonce: bytes, proof: bytes) -> None:
        """Check the answer to a challenge; reads the whole layer.

        A challenge can be answered once; once possession is shown, anything answers it, so that a replay is harmless. Who
        fails can still send the layer.

        Raises:
            Refused: the proof is wrong, or answers no challenge of this holder.
        """
        if self._cache.possesses(account, diff_id):
            return
        with self._lock:
            challenge = self._challenges.pop((holder, diff_id), None)
        if challenge is None or challenge != nonce:
            raise Refused(f"no such challenge for layer {diff_id}", hint="offer the image again, or send the layer")
        with self._cache.open_content(diff_id) as content:
            expected = proof_of(challenge, content)
        if not same_proof(expected, proof):
            log.warning("%s failed to prove possession of layer %s", account, diff_id)
            raise Refused(f"the proof for layer {diff_id} is wrong", hint="send the layer instead")
        self._cache.grant(account, diff_id)

    def receive(self, account: str, holder: str, diff_id: str, chunks: Iterable[bytes | memoryview]) -> Layer:
        """Store a layer of an open offer; see `ImageCache.put_layer`.

        Raises:
            WrongState: the layer is in no open offer of this holder (retryable: offer again).
            BadImage: the bytes are not that layer, or break the limits.
            Exhausted: the disk is full.
        """
        with self._lock:
            offered = any(diff_id in layers for layers in self._offers.get(holder, {}).values())
        if not offered:
            raise WrongState(f"layer {diff_id} was not offered", hint="offer the image first", retryable=True)
        return self._cache.put_layer(account, diff_id, chunks)

    def finish(self, account: str, holder: str, name: str, config: bytes, diff_ids: Sequence[str]) -> ImageDescription:
        """Describe the image for the account under `name`, and close the offer. Doing it twice is harmless.

        Raises:
            BadImage: config or name cannot be used.
            WrongState: layers are missing.
        """
        _layers_of(config, diff_ids)
        image = self._cache.tag(account, name, config)
        self._close(holder, image.config_digest)
        return image

    def abandon(self, holder: str) -> None:
        """The holder is gone: its offers are closed. What it has sent stays, for a later offer, until it is evicted."""
        with self._lock:
            images = list(self._offers.get(holder, {}))
        for image in images:
            self._close(holder, image)
        with self._lock:
            self._offers.pop(holder, None)


def _layers_of(config: bytes, diff_ids: Sequence[str]) -> tuple[str, ...]:
    layers = parse_config(config).diff_ids
    if layers != tuple(diff_ids):
        raise BadImage("the layers offered are not those the image's config names")
    return layers


def _pin(holder: str, image: str) -> str:
    return f"upload {holder} {image}"
