"""Images of a data set, resized to a square: decoded whole or at a reduced scale, or taken from a cache.

In: a folder, an image's id, a side. Out: a `Square`, the same with the cache as without it.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wsol.core.declared_size import MAX_MEGAPIXELS, check_pixels
from wsol.data.image_cache import ImageCache, Source, Square
from wsol.data.images import FULL, REDUCED, read_image
from wsol.data.preprocessing import resize


@dataclass(frozen=True)
class ImageReader:
    """How the images of a data set are read.

    root: their folder.
    max_megapixels: files that declare more are refused.
    decode_scale: full, or reduced: a JPEG is decoded at the least of 1/8, 1/4, 1/2 and 1 of its size that leaves both sides
        as long as the square's (libjpeg then computes fewer frequencies). Faster, with slightly different pixels.
    cache: where resized images are kept.
    """

    root: Path
    max_megapixels: float = MAX_MEGAPIXELS
    decode_scale: str = FULL
    cache: ImageCache | None = None

    def square(self, image_id: str, side: int) -> Square:
        """Return an image resized to (side, side), bilinearly with antialiasing, regardless of its proportions.

        Raises:
            InputError: it cannot be read, or declares more pixels than allowed; names the file.
        """
        path = self.root / image_id
        source = self.source(image_id, side) if self.cache else None
        if self.cache is None or source is None:
            return self._decoded(path, side)  # which says what is wrong, if there is no source
        if kept := self.cache.get(source):
            check_pixels(path, kept.size, self.max_megapixels)
            return kept
        square = self._decoded(path, side)
        self.cache.put(source, square)
        return square

    def source(self, image_id: str, side: int) -> Source | None:
        """Return what an image's square is made from, as its file is now; None if there is no such file.

        Ask before the image is read: what is made of it is stale at once if the file changes meanwhile.
        """
        try:
            status = (self.root / image_id).stat()
        except (OSError, ValueError):
            return None
        path = os.path.join(self._real_root, image_id)
        return Source(path, status.st_size, status.st_mtime_ns, side, self.decode_scale)

    @cached_property
    def _real_root(self) -> str:
        return os.path.realpath(self.root)

    def _decoded(self, path: Path, side: int) -> Square:
        decoded = read_image(path, self.max_megapixels, side if self.decode_scale == REDUCED else None)
        return Square(resize(decoded.image, side, decoded.box), decoded.size)
