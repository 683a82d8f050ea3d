"""A warning where images to compare were resized by different libraries."""

from __future__ import annotations

from collections.abc import Iterable

from hashkit.workflow.reporter import Reporter

__all__ = ["warn_of_other_resamplers"]


def warn_of_other_resamplers(resamplers: Iterable[tuple[str, str]], reporter: Reporter) -> None:
    """Warn once if several libraries or versions resized the images.

    Parameters
    ----------
    resamplers
        What was resized, such as a bank's path, and `hashkit.bank.header.BankHeader.resampler`.
        Unknown ones are not compared.
    """
    by_library: dict[str, str] = {}
    for what, names in resamplers:
        for library in filter(None, names.split(", ")):
            by_library.setdefault(library, what)
    if len(by_library) > 1:
        listed = "; ".join(f"{what}: {library}" for library, what in by_library.items())
        reporter.note(
            f"warning: images were resized by different versions, so single bits may differ "
            f"({listed}); encode them again with one of them for exact distances"
        )
