"""An nbdkit plugin: a disk with a volatile write cache, whose power can be cut.

A write stays in memory until a FLUSH, or reaches the image at once if it carries FUA: what a drive with a cache promises,
and not a bit more. The power goes when the file `cut` appears beside the image. Its one line says

    KEEP SEED PERCENT AFTER

- after how many more requests (AFTER), so that a cut falls in the middle of whatever is going on;
- which unflushed sectors of 512 bytes reach the image all the same (KEEP): `nothing`, `prefix` (the first ones, in the order of
  writing, a random number of them), or `subset` (each with a chance of PERCENT), by a random source that starts at SEED.

Then the plugin leaves the file `off` beside the image, and is gone: whoever uses the disk gets EIO from there on.
"""

import os
import random

import nbdkit

API_VERSION = 2
SECTOR_BYTES = 512


class Disk:
    """The image, and what a power cut would lose."""

    def __init__(self, image):
        self.directory = os.path.dirname(image)
        self.file = os.open(image, os.O_RDWR)
        self.size = os.fstat(self.file).st_size
        # Contents by sector number. A sector that is written again goes to the end: the order is that of the last write.
        self.unflushed = {}
        self.cut = None

    def path(self, name):
        return os.path.join(self.directory, name)

    def on_request(self):
        """Counts a request; the last one before the cut does not return."""
        if self.cut is None:
            try:
                handle = os.open(self.path("cut"), os.O_RDONLY)
            except FileNotFoundError:
                return
            keep, seed, percent, after = os.read(handle, 4096).decode().split()
            os.close(handle)
            self.cut = [int(after), keep, int(seed), int(percent)]
        if self.cut[0] > 0:
            self.cut[0] -= 1
            return
        self.lose_power(*self.cut[1:])

    def lose_power(self, keep, seed, percent):
        chance = random.Random(seed)
        sectors = list(self.unflushed)
        if keep == "prefix":
            sectors = sectors[: chance.randint(0, len(sectors))]
        elif keep == "subset":
            sectors = [sector for sector in sectors if chance.random() * 100 < percent]
        else:
            sectors = []
        self.store(sectors)
        os.unlink(self.path("cut"))
        os.close(os.open(self.path("off"), os.O_WRONLY | os.O_CREAT))
        os._exit(0)

    def store(self, sectors):
        for sector in sectors:
            os.pwrite(self.file, self.unflushed[sector], sector * SECTOR_BYTES)

    def read(self, buffer, offset):
        content = bytearray(os.pread(self.file, len(buffer), offset))
        if self.unflushed:
            for at in range(0, len(buffer), SECTOR_BYTES):
                newer = self.unflushed.get((offset + at) // SECTOR_BYTES)
                if newer is not None:
                    content[at : at + SECTOR_BYTES] = newer
        buffer[:] = content

    def write(self, buffer, offset, durable):
        for at in range(0, len(buffer), SECTOR_BYTES):
            sector = (offset + at) // SECTOR_BYTES
            self.unflushed.pop(sector, None)
            if not durable:
                self.unflushed[sector] = bytes(buffer[at : at + SECTOR_BYTES])
        if durable:
            os.pwrite(self.file, buffer, offset)

    def flush(self):
        self.store(self.unflushed)
        self.unflushed.clear()


disk = None


def config(key, value):
    global disk
    if key != "image":
        raise RuntimeError("the one parameter is image=PATH")
    disk = Disk(os.path.abspath(value))


def thread_model():
    return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS


def open(readonly):
    return disk


def get_size(handle):
    return handle.size


def block_size(handle):
    return (SECTOR_BYTES, 4096, 0xFFFFFFFF)


def can_flush(handle):
    return True


def can_fua(handle):
    return nbdkit.FUA_NATIVE


def pread(handle, buffer, offset, flags):
    handle.on_request()
    handle.read(buffer, offset)


def pwrite(handle, buffer, offset, flags):
    handle.on_request()
    handle.write(buffer, offset, bool(flags & nbdkit.FLAG_FUA))


def flush(handle, flags):
    handle.on_request()
    handle.flush()
