"""A module that registers a type which `examples.jobs` has already."""

from hegemon import job


@job("echo")
async def other_echo(text: str) -> str:
    """Not the one that everybody expects."""
    return text
