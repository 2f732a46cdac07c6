"""Small pictures of a page, as JPEG."""

import io

from PIL import Image

QUALITY = 80


def jpeg_bytes(picture: Image.Image) -> bytes:
    """Return a picture as a JPEG file; the same picture gives the same bytes."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return stream.getvalue()
