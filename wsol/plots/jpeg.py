"""Pictures as JPEG."""

import io

from PIL import Image

QUALITY = 80  # of the small pictures of a page


def jpeg_bytes(picture: Image.Image, quality: int = QUALITY) -> bytes:
    """Return a picture as a JPEG file; the same picture gives the same bytes."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()
