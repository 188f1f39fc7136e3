"""The page as PDF, by a library that is asked for only when it is needed."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable

from pipeline.errors import PipelineError

PLACE = "file:///report.html"  # where links within the page are resolved; nothing is read from there


class PrinterMissing(PipelineError):
    """No library to make a PDF with."""


def load_printer() -> Callable[[str], bytes]:
    """What turns a page of HTML into a PDF; raises PrinterMissing where the library is not installed."""
    try:
        plutoprint = importlib.import_module("plutoprint")
    except ImportError as error:
        raise PrinterMissing("PDF output needs an extra package: pip install 'mnist-study-pipeline[pdf]'") from error

    def print_page(page: str) -> bytes:
        book = plutoprint.Book(plutoprint.PAGE_SIZE_A4, media=plutoprint.MEDIA_TYPE_PRINT)
        book.load_html(page.replace("<details", "<details open"), base_url=PLACE)  # nothing is folded on paper
        stream = io.BytesIO()
        book.write_to_pdf_stream(stream)
        return stream.getvalue()

    return print_page
