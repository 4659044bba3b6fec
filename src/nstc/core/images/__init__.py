"""Pictures: whatever a camera or an editor wrote, as 8-bit sRGB arrays, and back to files."""

from nstc.core.images.formats import FORMATS as FORMATS
from nstc.core.images.formats import MAX_PIXELS as MAX_PIXELS
from nstc.core.images.formats import PHOTO_ENDINGS as PHOTO_ENDINGS
from nstc.core.images.formats import format_of as format_of
from nstc.core.images.picture import Picture as Picture
from nstc.core.images.picture import Pixels as Pixels
from nstc.core.images.picture import centre_square as centre_square
from nstc.core.images.picture import resize as resize
from nstc.core.images.picture import resize_longer_side as resize_longer_side
from nstc.core.images.picture import resize_shorter_side as resize_shorter_side
from nstc.core.images.picture_files import picture_of as picture_of
from nstc.core.images.picture_files import read_picture as read_picture
from nstc.core.images.picture_files import write_picture as write_picture
