"""What of a caller's trace context is believed, as the W3C has it."""

import pytest

from hegemon.tracing.context import trace_context, trace_id

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_a_valid_context_is_kept_with_its_state() -> None:
    found = trace_context(GOOD, "vendor=1,other=2")
    assert found is not None
    assert (found.parent, found.state, found.sampled) == (GOOD, "vendor=1,other=2", True)
    assert trace_id(GOOD) == TRACE


def test_a_trace_that_is_not_sampled_says_so() -> None:
    found = trace_context(f"00-{TRACE}-{SPAN}-00")
    assert found is not None
    assert not found.sampled


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    found = trace_context(f"cc-{TRACE}-{SPAN}-01-what-comes-later")
    assert found is not None
    assert found.parent == f"cc-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nonsense",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
        f"{GOOD}, {GOOD}",
        f"cc-{TRACE}-{SPAN}-01-" + "x" * 1000,
        f"{GOOD}\n",
    ],
)
def test_whatever_else_comes_is_no_context(text: str | None) -> None:
    assert trace_context(text, "vendor=1") is None
    assert trace_id(text) is None


@pytest.mark.parametrize("state", ["", "x" * 513, "caf\xe9=1", "a=1\nb=2"])
def test_a_state_that_is_no_state_goes_alone(state: str) -> None:
    found = trace_context(GOOD, state)
    assert found is not None
    assert (found.parent, found.state) == (GOOD, None)
