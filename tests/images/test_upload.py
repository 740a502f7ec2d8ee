"""From an image on the client's machine to the location's cache: both halves joined without a wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.support.images import SampleImage, digest, gzipped, plain
from tfcore.errors import BadImage, ImageNotFound, Refused, Unavailable, WrongState
from tfcore.images.description import ImageDescription
from tfcore.images.digest import digest_of
from tfcore.images.exchange import LayerNeed, Need
from tfcore.images.possession import NONCE_SIZE, new_nonce, proof_of
from tfcore.images.reference import parse_reference
from tflocation.images import uploads as location_side
from tflocation.images.cache import ImageCache
from tflocation.images.uploads import Uploads
from tfnz.images.source import ImageSource
from tfnz.images.sources import open_source
from tfnz.images.upload import ATTEMPTS, ensure_image, upload

BASE, APP, OTHER = ({"base": "b" * 4000}, {"app": "a" * 4000}, {"other": "o" * 4000})
IMAGE = SampleImage([BASE, APP], {"Cmd": ["/app"]})
SIBLING = SampleImage([BASE, OTHER], {"Cmd": ["/other"]})


class Peer:
    """A location without a wire between, seen by one account in one session; writes down what travelled."""

    def __init__(self, uploads: Uploads, cache: ImageCache, account: str = "ann", session: str = "s-1") -> None:
        self.uploads, self.cache, self.account, self.session = uploads, cache, account, session
        self.sent: list[str] = []
        self.proved: list[str] = []
        self.interruptions: list[Exception] = []

    def find(self, name: str) -> ImageDescription:
        return self.cache.describe(self.account, name)

    def offer(self, name: str, config: bytes, diff_ids: Sequence[str]) -> Sequence[LayerNeed]:
        return self.uploads.offer(self.account, self.session, config, diff_ids)

    def prove(self, diff_id: str, nonce: bytes, proof: bytes) -> None:
        self.uploads.prove(self.account, self.session, diff_id, nonce, proof)
        self.proved.append(diff_id)

    def send(self, diff_id: str, chunks: Iterable[bytes]) -> None:
        def travelling() -> Iterator[bytes]:
            yield from chunks
            if self.interruptions:
                raise self.interruptions.pop()

        self.uploads.receive(self.account, self.session, diff_id, travelling())
        self.sent.append(diff_id)

    def finish(self, name: str, config: bytes, diff_ids: Sequence[str]) -> ImageDescription:
        return self.uploads.finish(self.account, self.session, name, config, diff_ids)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ImageCache]:
    cache = ImageCache(tmp_path / "cache")
    yield cache
    cache.close()


@pytest.fixture
def uploads(cache: ImageCache) -> Uploads:
    return Uploads(cache)


@pytest.fixture
def as_account(uploads: Uploads, cache: ImageCache) -> Callable[[str], Peer]:
    return lambda account: Peer(uploads, cache, account, f"s-{account}")


@pytest.fixture
def ann(as_account: Callable[[str], Peer]) -> Peer:
    return as_account("ann")


@pytest.fixture
def bob(as_account: Callable[[str], Peer]) -> Peer:
    return as_account("bob")


@pytest.fixture
def source_of(tmp_path: Path) -> Iterator[Callable[..., ImageSource]]:
    """An archive of an image, opened as the user's reference says."""
    with ExitStack() as opened:

        def source(image: SampleImage, *, pack: Callable[[bytes], bytes] = plain) -> ImageSource:
            path = image.docker_archive(tmp_path / f"{image.id[-9:]}-{pack.__name__}.tar", pack=pack)
            return opened.enter_context(closing(open_source(parse_reference(f"docker-archive:{path}"))))

        yield source


Source = Callable[..., ImageSource]


class TestWhatTravels:
    def test_a_new_image_is_sent_whole(self, ann: Peer, source_of: Source) -> None:
        source = source_of(IMAGE)
        image = upload(source, ann)
        assert image.config_digest == IMAGE.id
        assert (ann.sent, ann.proved) == (IMAGE.diff_ids, [])
        assert ann.find(source.name) == image
        source.close()

    def test_the_second_time_nothing_travels_and_nothing_is_read(self, ann: Peer, source_of: Source) -> None:
        upload(source_of(IMAGE), ann)

        class Unread:
            name, config = "again:latest", IMAGE.config_json

        ann.sent.clear()
        assert upload(Unread(), ann).config_digest == IMAGE.id  # type: ignore[arg-type]
        assert (ann.sent, ann.proved) == ([], [])

    def test_of_a_related_image_only_the_new_layer_is_sent(self, ann: Peer, source_of: Source) -> None:
        upload(source_of(IMAGE), ann)
        ann.sent.clear()
        upload(source_of(SIBLING), ann)
        assert (ann.sent, ann.proved) == ([SIBLING.diff_ids[1]], [])

    def test_a_layer_that_occurs_twice_is_sent_once(self, ann: Peer, source_of: Source) -> None:
        upload(source_of(SampleImage([BASE, APP, BASE])), ann)
        assert ann.sent == IMAGE.diff_ids

    @pytest.mark.parametrize(("first", "second"), [(plain, gzipped), (gzipped, plain), (gzipped, gzipped)])
    def test_what_another_account_has_is_proved_whatever_the_compression(
        self, ann: Peer, bob: Peer, source_of: Source, first: Callable[..., bytes], second: Callable[..., bytes]
    ) -> None:
        upload(source_of(IMAGE, pack=first), ann)
        image = upload(source_of(IMAGE, pack=second), bob)
        assert (bob.sent, bob.proved) == ([], IMAGE.diff_ids)
        assert bob.find(IMAGE.id) == image == ann.find(IMAGE.id)

    def test_what_was_proved_once_is_had(self, ann: Peer, bob: Peer, source_of: Source) -> None:
        upload(source_of(IMAGE), ann)
        upload(source_of(IMAGE), bob)
        bob.proved.clear()
        upload(source_of(IMAGE), bob)
        assert (bob.sent, bob.proved) == ([], [])


class TestPossession:
    def offered(self, peer: Peer, image: SampleImage = IMAGE) -> dict[str, LayerNeed]:
        return {need.diff_id: need for need in peer.offer("x", image.config_json, image.diff_ids)}

    def test_who_knows_only_digests_cannot_answer(self, ann: Peer, bob: Peer, source_of: Source) -> None:
        upload(source_of(IMAGE), ann)
        for diff_id, need in self.offered(bob).items():
            assert need.need is Need.PROVE
            guess = proof_of(need.nonce, [bytes.fromhex(diff_id.removeprefix("sha256:"))])
            with pytest.raises(Refused, match="is wrong"):
                bob.prove(diff_id, need.nonce, guess)
        with pytest.raises(WrongState):
            bob.finish("x", IMAGE.config_json, IMAGE.diff_ids)
        with pytest.raises(ImageNotFound):
            bob.find(IMAGE.id)

    def test_a_challenge_is_answered_once(self, ann: Peer, bob: Peer, source_of: Source) -> None:
        upload(source_of(IMAGE), ann)
        need = self.offered(bob)[IMAGE.diff_ids[0]]
        right = proof_of(need.nonce, [IMAGE.tars[0]])
        with pytest.raises(Refused, match="is wrong"):
            bob.prove(need.diff_id, need.nonce, b"x" * 32)
        with pytest.raises(Refused, match="no such challenge"):
            bob.prove(need.diff_id, need.nonce, right)

    def test_an_answer_that_was_accepted_may_come_again(self, ann: Peer, bob: Peer, source_of: Source) -> None:
        upload(source_of(IMAGE), ann)
        need = self.offered(bob)[IMAGE.diff_ids[0]]
        for _ in range(2):
            bob.prove(need.diff_id, need.nonce, proof_of(need.nonce, [IMAGE.tars[0]]))

    def test_a_nonce_of_ones_own_is_no_challenge(self, ann: Peer, bob: Peer, source_of: Source) -> None:
        upload(source_of(IMAGE), ann)
        self.offered(bob)
        nonce = bytes(NONCE_SIZE)
        with pytest.raises(Refused, match="no such challenge"):
            bob.prove(IMAGE.diff_ids[0], nonce, proof_of(nonce, [IMAGE.tars[0]]))

    def test_another_sessions_challenge_is_not_answered(
        self, ann: Peer, bob: Peer, source_of: Source, as_account: Callable[[str], Peer]
    ) -> None:
        upload(source_of(IMAGE), ann)
        need = self.offered(bob)[IMAGE.diff_ids[0]]
        with pytest.raises(Refused, match="no such challenge"):
            as_account("eve").prove(need.diff_id, need.nonce, proof_of(need.nonce, [IMAGE.tars[0]]))

    def test_who_fails_to_prove_sends(
        self, ann: Peer, bob: Peer, source_of: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upload(source_of(IMAGE), ann)
        monkeypatch.setattr("tfnz.images.upload.proof_of", lambda nonce, content: b"".join(content)[:32])
        upload(source_of(IMAGE), bob)
        assert (bob.sent, bob.proved) == (IMAGE.diff_ids, [])

    def test_nonces_and_proofs_differ(self) -> None:
        first, second = new_nonce(), new_nonce()
        assert len(first) == NONCE_SIZE
        assert proof_of(first, [b"ab", b"c"]) == proof_of(first, [b"abc"]) != proof_of(second, [b"abc"])


class TestBrokenOff:
    def test_an_interrupted_upload_goes_on_with_what_is_missing(self, ann: Peer, source_of: Source) -> None:
        ann.interruptions = [Unavailable("cut", retryable=True)]
        upload(source_of(IMAGE), ann)
        assert sorted(ann.sent) == sorted(IMAGE.diff_ids)

    def test_after_several_interruptions_it_gives_up(self, ann: Peer, source_of: Source) -> None:
        ann.interruptions = [Unavailable("cut", retryable=True)] * (ATTEMPTS + 2)
        with pytest.raises(Unavailable, match="cut"):
            upload(source_of(IMAGE), ann)
        assert len(ann.interruptions) == 2

    def test_what_cannot_be_helped_is_not_tried_again(self, ann: Peer, source_of: Source) -> None:
        ann.interruptions = [BadImage("no"), Unavailable("gone for good")]
        with pytest.raises(Unavailable, match="gone for good"):
            upload(source_of(IMAGE), ann)
        assert len(ann.interruptions) == 1

    def test_a_location_that_forgot_the_offer_is_offered_again(self, ann: Peer, source_of: Source) -> None:
        original = ann.send

        def forgetful(diff_id: str, chunks: Iterable[bytes]) -> None:
            if not ann.sent:
                ann.sent.append("forgotten")
                ann.uploads.abandon(ann.session)
            original(diff_id, chunks)

        ann.send = forgetful  # type: ignore[method-assign]
        assert upload(source_of(IMAGE), ann).config_digest == IMAGE.id

    def test_a_damaged_source_is_refused_and_nothing_is_described(self, ann: Peer, tmp_path: Path) -> None:
        layout = IMAGE.oci_layout(tmp_path / "layout")
        blob = layout / "blobs" / "sha256" / IMAGE.diff_ids[1].removeprefix("sha256:")
        blob.write_bytes(blob.read_bytes().replace(b"aaaa", b"aaab"))
        with pytest.raises(BadImage, match="is damaged"):
            upload(open_source(parse_reference(f"oci:{layout}")), ann)
        assert ann.cache.images("ann") == ()


class TestOffers:
    def test_layers_are_pinned_from_offer_to_finish(self, ann: Peer) -> None:
        ann.offer("x", IMAGE.config_json, IMAGE.diff_ids)
        ann.send(IMAGE.diff_ids[0], [IMAGE.tars[0]])
        assert ann.cache.evict(0) == 0
        ann.send(IMAGE.diff_ids[1], [IMAGE.tars[1]])
        ann.finish("x:latest", IMAGE.config_json, IMAGE.diff_ids)
        assert ann.cache.evict(0) == sum(map(len, IMAGE.tars))

    def test_two_offers_of_a_session_do_not_close_one_another(self, ann: Peer) -> None:
        for image in (IMAGE, SIBLING):
            ann.offer("x", image.config_json, image.diff_ids)
        for tar in IMAGE.tars:
            ann.send(digest_of(tar), [tar])
        ann.finish("x:latest", IMAGE.config_json, IMAGE.diff_ids)
        ann.send(SIBLING.diff_ids[1], [SIBLING.tars[1]])
        assert ann.finish("y:latest", SIBLING.config_json, SIBLING.diff_ids).config_digest == SIBLING.id

    def test_finishing_twice_is_harmless(self, ann: Peer, source_of: Source) -> None:
        image = upload(source_of(IMAGE), ann)
        assert ann.finish("x:latest", IMAGE.config_json, IMAGE.diff_ids) == image

    def test_what_was_not_offered_is_not_taken(self, ann: Peer, bob: Peer) -> None:
        bob.offer("x", IMAGE.config_json, IMAGE.diff_ids)
        with pytest.raises(WrongState, match="was not offered") as refused:
            ann.send(IMAGE.diff_ids[0], [IMAGE.tars[0]])
        assert refused.value.retryable

    def test_a_session_that_ends_pins_nothing(self, ann: Peer) -> None:
        ann.offer("x", IMAGE.config_json, IMAGE.diff_ids)
        ann.send(IMAGE.diff_ids[0], [IMAGE.tars[0]])
        ann.uploads.abandon(ann.session)
        ann.uploads.abandon(ann.session)
        assert ann.cache.evict(0) == len(IMAGE.tars[0])

    def test_the_oldest_of_too_many_offers_is_closed(self, ann: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(location_side, "OPEN_OFFERS", 1)
        ann.offer("x", IMAGE.config_json, IMAGE.diff_ids)
        ann.offer("y", SIBLING.config_json, SIBLING.diff_ids)
        with pytest.raises(WrongState):
            ann.send(IMAGE.diff_ids[1], [IMAGE.tars[1]])
        ann.send(SIBLING.diff_ids[1], [SIBLING.tars[1]])

    @pytest.mark.parametrize("diff_ids", [[], IMAGE.diff_ids[:1], IMAGE.diff_ids[::-1], [*IMAGE.diff_ids, digest(b"")]])
    def test_other_layers_than_the_config_names_are_refused(self, ann: Peer, diff_ids: list[str]) -> None:
        with pytest.raises(BadImage, match="not those the image's config names"):
            ann.offer("x", IMAGE.config_json, diff_ids)
        with pytest.raises(BadImage, match="not those the image's config names"):
            ann.finish("x", IMAGE.config_json, diff_ids)

    def test_a_config_that_is_none_is_refused(self, ann: Peer) -> None:
        with pytest.raises(BadImage):
            ann.offer("x", b"{}", [])


class TestProgress:
    def test_bytes_are_counted_over_all_layers(self, ann: Peer, source_of: Source) -> None:
        seen: list[tuple[str, int, int]] = []
        source = source_of(IMAGE)
        upload(source, ann, progress=lambda *progress: seen.append(progress))
        total = sum(map(len, IMAGE.tars))
        assert seen[0] == (f"uploading {source.name}", 0, total)
        assert seen[-1] == (f"uploading {source.name}", total, total)
        assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)

    def test_proving_counts_as_well(self, ann: Peer, bob: Peer, source_of: Source) -> None:
        upload(source_of(IMAGE), ann)
        seen: list[tuple[int, int]] = []
        upload(source_of(IMAGE), bob, progress=lambda _, done, total: seen.append((done, total)))
        assert seen[-1][0] == seen[-1][1] > 0


class TestEnsure:
    def no_docker(self, reference: object) -> ImageSource:
        raise Unavailable("the local Docker daemon cannot be used: not there", hint="start it")

    def test_a_name_in_the_cache_needs_no_docker(self, ann: Peer, source_of: Source) -> None:
        upload(source_of(IMAGE), ann)
        ann.cache.tag("ann", "web:latest", IMAGE.config_json)
        assert ensure_image(parse_reference("web"), ann, self.no_docker).config_digest == IMAGE.id
        assert ensure_image(parse_reference(IMAGE.id[7:19]), ann, self.no_docker).config_digest == IMAGE.id

    def test_a_name_that_is_nowhere_is_not_found_and_says_where_it_was_looked_for(self, ann: Peer) -> None:
        with pytest.raises(
            ImageNotFound, match="cache has no image web:latest, and the local Docker daemon"
        ) as refused:
            ensure_image(parse_reference("web"), ann, self.no_docker)
        assert refused.value.hint == "start it"
        assert refused.value.details == {"image": "web:latest"}

    def test_an_explicit_reference_says_what_is_wrong_with_it(self, ann: Peer) -> None:
        with pytest.raises(Unavailable):
            ensure_image(parse_reference("docker:web"), ann, self.no_docker)
        with pytest.raises(BadImage, match="not a directory"):
            ensure_image(parse_reference("oci:/nothing/here"), ann, open_source)

    def test_a_name_not_in_the_cache_comes_from_here(self, ann: Peer, source_of: Source) -> None:
        source = source_of(IMAGE)
        assert ensure_image(parse_reference("web"), ann, lambda _: source).config_digest == IMAGE.id

    def test_a_file_is_looked_at_every_time(self, ann: Peer, tmp_path: Path) -> None:
        reference = parse_reference(f"docker-archive:{tmp_path}/web.tar")
        for image in (IMAGE, SIBLING):
            image.docker_archive(tmp_path / "web.tar")
            assert ensure_image(reference, ann, open_source).config_digest == image.id
        assert ann.find(str(reference)).config_digest == SIBLING.id
