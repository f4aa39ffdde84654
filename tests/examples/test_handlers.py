"""The example handlers on real input: mail over real SMTP read back from disk, real pictures in and out.

The handlers are called directly here; the test that runs them through the real engine, from `POST /jobs` to
`completed`, comes separately.
"""

import asyncio
import os
import re
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from PIL import Image

from examples import jobs, mail_sink
from examples.files import write_whole
from examples.mail_sink import MailSink, read_mails
from examples.pictures import ORIENTATION, TURNED_RIGHT, draw_landscape, make_samples
from hegemon import Context, Reject
from hegemon.worker.registry import InvalidPayload, handlers


class RecordingContext(Context):
    """A Context that keeps its progress reports, and is cancelled at the `cancel_after`th of them."""

    def __init__(
        self, job_id: str = "0190b5e2-7c3d-7aaa-8000-000000000001", failures: int = 0, cancel_after: int = 0
    ) -> None:
        super().__init__(job_id, type="example", queue="default", attempt=failures + 1, failures=failures)
        self.reports: list[tuple[float, str]] = []
        self._cancel_after = cancel_after

    def progress(self, fraction: float, message: str = "") -> None:
        super().progress(fraction, message)
        self.reports.append((fraction, message))
        if len(self.reports) == self._cancel_after:
            self._voice.cancelled = True


@pytest.fixture
def mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("EXAMPLE_OUTPUT", str(tmp_path))
    monkeypatch.delenv("EXAMPLE_SMTP", raising=False)
    monkeypatch.setattr(mail_sink, "_sinks", {})
    yield tmp_path / "mail"
    for sink, _ in mail_sink._sinks.values():
        sink.stop()


class RefusingSink(MailSink):
    """A mail server that answers each recipient, and each mail, with a given reply."""

    to_recipient = "250 ok"
    to_mail = "250 ok"

    # aiosmtpd names its hooks after the SMTP commands.
    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        envelope.rcpt_tos.append(address)
        return self.to_recipient

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        return self.to_mail


@pytest.fixture
def refusing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingSink]:
    sink = RefusingSink(tmp_path / "unused")
    host, port = sink.start()
    monkeypatch.setenv("EXAMPLE_SMTP", f"{host}:{port}")
    yield sink
    sink.stop()


def is_json(result: object) -> bool:
    return bool(msgspec.json.decode(msgspec.json.encode(result)) == result)


def a_picture(path: Path, size: tuple[int, int], mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)
    return path


# ── mail ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mail_is_delivered_over_smtp_and_can_be_read_back(mailbox: Path) -> None:
    ctx = RecordingContext()
    result = jobs.email(ctx, to="ann@example.com", subject="Grüße", body="Zwei Zeilen,\n.und ein Punkt ☂\n")
    assert is_json(result)
    (mail,) = read_mails(mailbox)
    assert (mail.sender, mail.to, mail.subject) == ("hegemon@localhost", "ann@example.com", "Grüße")
    assert mail.body.splitlines() == ["Zwei Zeilen,", ".und ein Punkt ☂"]
    assert mail.message_id == result["message_id"] == f"<{ctx.job_id}@localhost>"
    assert [path.name for path in mailbox.iterdir()] == [f"{ctx.job_id}@localhost.eml"]


def test_a_mail_sent_again_by_a_second_attempt_is_one_mail(mailbox: Path) -> None:
    for _ in range(2):
        jobs.email(RecordingContext(), to="ann@example.com", subject="once")
    assert len(list(mailbox.iterdir())) == 1


def test_threads_that_send_their_first_mail_at_once_share_one_sink(mailbox: Path) -> None:
    def send(number: int) -> str:
        return jobs.email(RecordingContext(job_id=f"job-{number}"), to="ann@example.com", subject=str(number))["smtp"]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(send, range(24)))) == 1
    assert sorted(int(mail.subject) for mail in read_mails(mailbox)) == list(range(24))


def test_the_list_command_shows_the_mails_for_one_address(mailbox: Path) -> None:
    jobs.email(RecordingContext(job_id="a"), to="ann@example.com", subject="for Ann")
    jobs.email(RecordingContext(job_id="b"), to="bob@example.com", subject="for Bob")
    command = [sys.executable, "-m", "examples.mail_sink", "list", "--to", "bob@example.com"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    assert "for Bob" in shown
    assert "for Ann" not in shown
    assert "1 mail in" in shown


@pytest.mark.parametrize(
    "to",
    ["", "ann", "ann@", "@example.com", "Ann <ann@example.com>", "a@b c", "a@b\nBcc: c@d", "é@x", "ann@exämple.com"],
)
def test_a_bad_address_is_rejected(mailbox: Path, to: str) -> None:
    with pytest.raises(Reject, match="to: "):
        jobs.email(RecordingContext(), to=to, subject="Hello")
    assert not mailbox.exists()


def test_a_subject_cannot_add_headers(mailbox: Path) -> None:
    with pytest.raises(Reject):
        jobs.email(RecordingContext(), to="ann@example.com", subject="Hello\r\nBcc: eve@example.com")
    assert not mailbox.exists()


def test_a_mail_server_that_is_down_is_an_ordinary_error_and_so_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        monkeypatch.setenv("EXAMPLE_SMTP", f"127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(ConnectionRefusedError):
            jobs.email(RecordingContext(), to="ann@example.com", subject="Hello")


@pytest.mark.parametrize("stage", ["to_recipient", "to_mail"])
def test_a_permanent_refusal_by_the_server_is_rejected_with_its_words(refusing: RefusingSink, stage: str) -> None:
    setattr(refusing, stage, "554 not from you")
    with pytest.raises(Reject, match="554 not from you"):
        jobs.email(RecordingContext(), to="ann@example.com", subject="Hello")


@pytest.mark.parametrize("stage", ["to_recipient", "to_mail"])
def test_a_temporary_refusal_by_the_server_is_an_ordinary_error(refusing: RefusingSink, stage: str) -> None:
    setattr(refusing, stage, "451 later")
    with pytest.raises(smtplib.SMTPException, match="later"):
        jobs.email(RecordingContext(), to="ann@example.com", subject="Hello")


def test_a_sink_that_cannot_store_says_later_instead_of_accepting(mailbox: Path) -> None:
    mailbox.write_text("a file where the folder should be")
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        jobs.email(RecordingContext(), to="ann@example.com", subject="Hello")
    assert refusal.value.smtp_code == 451


def test_a_message_id_from_outside_cannot_leave_the_mailbox(mailbox: Path) -> None:
    with smtplib.SMTP(*mail_sink.sink_address(mailbox), local_hostname="test") as server:
        server.sendmail("a@b", "c@d", "Message-ID: <../../evil>\r\nSubject: out\r\n\r\n.")
    assert [mail.path.parent for mail in read_mails(mailbox)] == [mailbox]


def test_a_wrong_smtp_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_SMTP", "mailhost")
    with pytest.raises(ValueError, match=r"EXAMPLE_SMTP must be host:port.*'mailhost'"):
        jobs.email(RecordingContext(), to="ann@example.com", subject="Hello")


# ── pictures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_of_pictures_is_shrunk_in_proportion_with_progress(tmp_path: Path) -> None:
    pictures, _ = make_samples(tmp_path, count=4)
    ctx = RecordingContext()
    result = jobs.resize_image(ctx, source=str(pictures), target=str(tmp_path / "out"), max_side=200)
    assert is_json(result)
    assert [Path(file["source"]) for file in result["files"]] == sorted(pictures.iterdir())
    for file in result["files"]:
        original, copy = Path(file["source"]), Path(file["target"])
        assert copy == tmp_path / "out" / original.name
        with Image.open(copy) as picture:
            picture.load()
            assert picture.format == ("PNG" if copy.suffix == ".png" else "JPEG")
            assert picture.size == (file["width"], file["height"])
            assert max(picture.size) == 200
        assert file["bytes"] == copy.stat().st_size < original.stat().st_size
    assert [fraction for fraction, _ in ctx.reports] == [0.25, 0.5, 0.75, 1.0]
    assert len(list((tmp_path / "out").iterdir())) == 4  # and no half-written file beside them


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"width": 100}, (100, 50)),
        ({"height": 100}, (200, 100)),
        ({"width": 100, "height": 100}, (100, 50)),
        ({"max_side": 40}, (40, 20)),
        ({}, (400, 200)),  # the default of 512 enlarges nothing
        ({"width": 800}, (400, 200)),
    ],
)
def test_the_aspect_ratio_is_kept_and_nothing_is_enlarged(
    tmp_path: Path, asked: dict[str, Any], size: tuple[int, int]
) -> None:
    source = a_picture(tmp_path / "wide.png", (400, 200))
    jobs.resize_image(RecordingContext(), source=str(source), target=str(tmp_path / "out.png"), **asked)
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.size == size


def test_the_camera_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_RIGHT
    stored = Image.new("RGB", (400, 200), "blue")
    stored.paste("red", (0, 0, 200, 200))  # left half red as stored: top half red as seen
    stored.save(tmp_path / "camera.jpg", exif=exif)
    jobs.resize_image(RecordingContext(), str(tmp_path / "camera.jpg"), str(tmp_path / "out.jpg"), max_side=100)
    with Image.open(tmp_path / "out.jpg") as picture:
        assert picture.size == (50, 100)
        assert picture.getexif().get(ORIENTATION, 1) == 1
        top, bottom = (cast(tuple[int, int, int], picture.getpixel((25, y))) for y in (20, 80))
        assert top[0] > 200
        assert bottom[2] > 200
        assert max(top[2], bottom[0]) < 50


def test_the_ending_of_the_target_sets_the_format(tmp_path: Path) -> None:
    source = a_picture(tmp_path / "clear.png", (60, 60), mode="RGBA")
    jobs.resize_image(RecordingContext(), source=str(source), target=str(tmp_path / "deep" / "solid.jpeg"))
    with Image.open(tmp_path / "deep" / "solid.jpeg") as picture:
        assert picture.format == "JPEG"


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.9])
@pytest.mark.parametrize("name", ["broken.png", "broken.jpg"])
def test_a_corrupt_picture_is_rejected_by_name_and_leaves_no_file(tmp_path: Path, name: str, keep: float) -> None:
    source = tmp_path / name
    draw_landscape((300, 300), 1).save(source)
    whole = source.read_bytes()
    source.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(Reject, match=name):
        jobs.resize_image(RecordingContext(), source=str(source), target=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_picture_of_too_many_pixels_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = a_picture(tmp_path / "bomb.png", (300, 300))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300 * 300 // 2 - 1)
    with pytest.raises(Reject, match=r"bomb\.png.*decompression bomb"):
        jobs.resize_image(RecordingContext(), source=str(source), target=str(tmp_path / "out"))


def test_a_missing_source_is_rejected_by_name(tmp_path: Path) -> None:
    with pytest.raises(Reject, match="nowhere"):
        jobs.resize_image(RecordingContext(), source=str(tmp_path / "nowhere"), target=str(tmp_path / "out"))


@pytest.mark.parametrize("target", ["in", "in/a.png", "in/../in"])
def test_a_source_is_never_overwritten(tmp_path: Path, target: str) -> None:
    source = a_picture(tmp_path / "in" / "a.png", (900, 900))
    before = source.read_bytes()
    with pytest.raises(Reject, match="overwrite its own source"):
        jobs.resize_image(RecordingContext(), source=str(source), target=str(tmp_path / target))
    assert source.read_bytes() == before


def test_a_cancelled_job_stops_before_the_next_picture(tmp_path: Path) -> None:
    for name in "abc":
        a_picture(tmp_path / "in" / f"{name}.png", (9, 9))
    ctx = RecordingContext(cancel_after=1)
    with pytest.raises(jobs.Stopped, match="after 1 of 3"):
        jobs.resize_image(ctx, source=str(tmp_path / "in"), target=str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_whole(tmp_path / "taken", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


# ── text ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_words_are_counted_over_a_folder_without_regard_to_case(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Don't panic. DON\u2019T! Don't\n\nÜber über\n", encoding="utf-8")
    (tmp_path / "b.md").write_text("# über-all\n", encoding="utf-8")
    (tmp_path / "c.csv").write_text("panic,panic\n", encoding="utf-8")
    ctx = RecordingContext()
    result = jobs.word_count(ctx, path=str(tmp_path), top=3)
    assert result == {"files": 2, "lines": 4, "words": 8, "top": [["über", 3], ["don't", 2], ["all", 1]]}
    assert ctx.reports == [(0.5, "a.txt"), (1.0, "b.md")]


def test_words_of_one_file_are_counted_whatever_its_ending_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(b"one \xff two")
    assert jobs.word_count(RecordingContext(), path=str(tmp_path / "notes"))["words"] == 2


def test_a_missing_text_is_rejected_by_name(tmp_path: Path) -> None:
    with pytest.raises(Reject, match="nowhere"):
        jobs.word_count(RecordingContext(), path=str(tmp_path / "nowhere"))


def test_a_cancelled_count_stops_before_the_next_text(tmp_path: Path) -> None:
    _, texts = make_samples(tmp_path, count=0)
    with pytest.raises(jobs.Stopped, match="after 1 of 3"):
        jobs.word_count(RecordingContext(cancel_after=1), path=str(texts))


# ── for trying and measuring ──────────────────────────────────────────────────────────────────────────────────────────


async def test_echo_returns_its_payload_and_noop_takes_any() -> None:
    assert await jobs.echo(a=1, b=[None, "x"]) == {"a": 1, "b": [None, "x"]}
    await jobs.noop(anything=1)


async def test_sleep_can_be_cancelled() -> None:
    task = asyncio.create_task(jobs.sleep(seconds=3600))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_fail_fails_as_often_as_asked_and_then_succeeds() -> None:
    for failures in range(2):
        with pytest.raises(RuntimeError, match="oh no"):
            await jobs.fail(RecordingContext(failures=failures), times=2, message="oh no")
    assert await jobs.fail(RecordingContext(failures=2), times=2) == {"failures": 2}


@pytest.mark.parametrize(
    ("job_type", "payload", "named"),
    [
        ("email", {"to": "ann@example.com"}, "subject"),
        ("email", {"to": "ann@example.com", "subject": "Hello", "cc": "bob@example.com"}, "cc"),
        ("resize-image", {"source": "a", "target": "b", "quality": 0}, "quality"),
        ("resize-image", {"source": "a", "target": "b", "width": 0}, "width"),
        ("word-count", {"path": "a", "top": -1}, "top"),
        ("sleep", {"seconds": -1}, "seconds"),
        ("sleep", {"seconds": "1"}, "seconds"),
        ("fail", {"times": 1.5}, "times"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_by_field(job_type: str, payload: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidPayload, match=named):
        handlers()[job_type].arguments(msgspec.json.encode(payload))


def test_the_payloads_of_the_readme_fit() -> None:
    readme = (Path(jobs.__file__).parent / "README.md").read_text(encoding="utf-8")
    submitted = [msgspec.json.decode(line) for line in re.findall(r"^submit '(.*)'$", readme, re.MULTILINE)]
    assert {body["type"] for body in submitted} == {"email", "resize-image", "word-count", "fail"}
    for body in submitted:
        handlers()[body["type"]].arguments(msgspec.json.encode(body["payload"]))


def test_the_handlers_load_without_the_optional_packages(tmp_path: Path) -> None:
    """And say what to install when they are needed."""
    script = """
import sys
sys.modules["PIL"] = sys.modules["aiosmtpd"] = None  # as if neither were installed
from examples import jobs
from hegemon import Reject
class Ctx: job_id = "1"; cancelled = False
open("a.png", "w").close()
for call in (lambda: jobs.email(Ctx(), to="a@b", subject=""), lambda: jobs.resize_image(Ctx(), "a.png", "out")):
    try:
        call()
    except Reject as error:
        print(error)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path)}
    environment.pop("EXAMPLE_SMTP", None)
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    assert run.stdout.count("pip install 'hegemon[examples]'") == 2
