"""Pictures of files, for pages: the file's own, made anew, else drawn. The same file gives the same bytes."""

from .drawn import SIZES, of_file, of_mesh, of_thumbnails, of_toolpath

__all__ = ["SIZES", "of_file", "of_mesh", "of_thumbnails", "of_toolpath"]
