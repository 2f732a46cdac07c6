"""The templates of the pages that this project writes, in page/."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "page"


def page_environment() -> Environment:
    """Return what renders the templates: whatever they show is escaped, and an unknown name is an error."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
