"""Mutations that know the SQLite file format, <https://www.sqlite.org/fileformat2.html>.

A changed number in the right place reaches more code than any number of changed bits: it is not caught by the first
check of a header.
"""

import random
import struct
from collections.abc import Callable, Iterable

from tests.fuzz.mutations import flip, put_number

HEADER_FIELDS = {16: 2, 18: 1, 19: 1, 20: 1, 21: 1, 28: 4, 32: 4, 36: 4, 40: 4, 44: 4, 52: 4, 56: 4, 60: 4, 64: 4}
"""Where the header has a number, and its size."""

FIRST_HEADER = 100
"""Where the b-tree header of the first page is, behind the header of the file."""

PAGE_SIZES = [512 << power for power in range(7)]

PAGE_FIELDS = {0: 1, 1: 2, 3: 2, 5: 2, 7: 1, 8: 4}
INTERIOR = (2, 5)
TABLE_LEAF = 13
PAGE_KINDS = (*INTERIOR, 10, TABLE_LEAF)

VARINTS = [b"\0", b"\x01", b"\x0a", b"\x0b", b"\x7f", b"\x81\x00", b"\xff\x7f", b"\x8f\xff\xff\xff\x7f", b"\xff" * 9]

SCHEMA_WORDS = [
    (b"TEXT NOT NULL", [b"BLOB NOT NULL", b"INT DEFAULT 1", b"AS (run_id)  ", b"CHECK(run_id)", b"COLLATE RTRIM"]),
    (b"PRIMARY KEY", [b"UNIQUE     ", b"REFERENCES ", b"DEFAULT x''"]),
    (b"CREATE TABLE", [b"CREATE VIEW ", b"CREATE INDEX"]),
    (b"REFERENCES runs(run_id)", [b"REFERENCES nosuch(id)  ", b"REFERENCES intel_items ", b"AS (1) STORED          "]),
    (b"runs", [b"runz", b"RUNS", b'"r" ']),
    (b"run_id", [b"run_ID", b"rowid ", b"run_ix"]),
    (b"table", [b"index", b"view ", b"trigg"]),
]
"""Words of the schema, and others as long that make other sense, or none."""

LOG_MAGIC = 0x377F0682
LOG_VERSION = 3007000


def page_size(content: bytes | bytearray) -> int:
    """Return the page size that the header tells, or the usual one if it makes no sense."""
    size = int.from_bytes(content[16:18], "big")
    return size if size in PAGE_SIZES else 4096


def starts(content: bytes | bytearray) -> range:
    """Return where the pages begin."""
    return range(0, len(content), page_size(content))


def btree_header(content: bytearray, random_: random.Random) -> tuple[int, int]:
    """Choose a b-tree page; return where it begins, and where its header is."""
    pages = [(start, start or FIRST_HEADER) for start in starts(content)]
    trees = [(start, header) for start, header in pages if header < len(content) and content[header] in PAGE_KINDS]
    return random_.choice(trees or pages[:1])


def cells(content: bytearray, header: int) -> range:
    """Return where a page has its pointers to cells."""
    first = header + (12 if content[header] in INTERIOR else 8)
    count = int.from_bytes(content[header + 3 : header + 5], "big")
    return range(first, min(first + 2 * count, len(content) - 2), 2)


def file_header(content: bytearray, random_: random.Random) -> None:
    """Change a number of the file's header."""
    place = random_.choice(list(HEADER_FIELDS))
    put_number(content, place, HEADER_FIELDS[place], random_)


def page_header(content: bytearray, random_: random.Random) -> None:
    """Change the kind of a page, its number of cells, its free space or its right-most child."""
    _, header = btree_header(content, random_)
    field = random_.choice(list(PAGE_FIELDS))
    if field:
        put_number(content, header + field, PAGE_FIELDS[field], random_)
    else:
        content[header] = random_.choice(PAGE_KINDS)


def cell_pointer(content: bytearray, random_: random.Random) -> None:
    """Have a pointer lead to another cell, or nowhere."""
    _, header = btree_header(content, random_)
    if pointers := cells(content, header):
        pointer, other = random_.choice(pointers), random_.choice(pointers)
        content[pointer : pointer + 2] = content[other : other + 2]
        if random_.random() < 0.5:
            put_number(content, pointer, 2, random_)


def cell(content: bytearray, random_: random.Random) -> None:
    """Change a child, a payload's size, a row's id or a type within a cell."""
    start, header = btree_header(content, random_)
    if pointers := cells(content, header):
        pointer = random_.choice(pointers)
        place = start + int.from_bytes(content[pointer : pointer + 2], "big")
        if content[header] in INTERIOR and random_.random() < 0.5:
            put_number(content, place, 4, random_)
        else:
            varint = random_.choice(VARINTS)
            place += random_.randrange(12)
            content[place : place + len(varint)] = varint


def rowid(content: bytearray, random_: random.Random) -> None:
    """Have one row of a table, of not many, claim to be another."""
    start, header = btree_header(content, random_)
    if content[header] == TABLE_LEAF and (pointers := cells(content, header)):
        place = start + int.from_bytes(content[(pointer := random_.choice(pointers)) : pointer + 2], "big")
        place += 1 if content[place] < 0x80 else 2
        if content[place] >= 0x80:
            content[place] = 0x80 | random_.randrange(10)
        content[place + 1] = random_.randrange(0x80)


def copy_page(content: bytearray, random_: random.Random) -> None:
    """Have one page twice, in the place of another."""
    size, pages = page_size(content), starts(content)
    one, other = random_.choice(pages), random_.choice(pages)
    content[one : one + size] = content[other : other + size]


def free_list(content: bytearray, random_: random.Random) -> None:
    """Have the list of free pages lead to pages in use, to itself or out of the file."""
    pages = len(starts(content))
    trunk = random_.randrange(1, pages + 2)
    content[32:40] = struct.pack(">II", trunk, random_.choice([0, 1, pages, 2**31]))
    place = (trunk - 1) * page_size(content)
    leaves = [random_.randrange(pages + 2) for _ in range(4)]
    content[place : place + 24] = struct.pack(">6I", random_.choice([0, trunk, 1]), random_.choice([4, 2**20]), *leaves)


def schema(content: bytearray, random_: random.Random) -> None:
    """Change a word of the schema."""
    word, others = random_.choice(SCHEMA_WORDS)
    places = [at for at in range(len(content)) if content.startswith(word, at)][:30]
    if places:
        place = random_.choice(places)
        content[place : place + len(word)] = random_.choice(others)


def cut_off(content: bytearray, random_: random.Random) -> None:
    """Take the last pages away."""
    del content[random_.choice(starts(content)) :]


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [
    flip,
    file_header,
    page_header,
    page_header,
    cell_pointer,
    cell,
    cell,
    copy_page,
    free_list,
    schema,
    schema,
    cut_off,
]


def mutate(content: bytes, random_: random.Random) -> bytes:
    """Change a file in a few ways."""
    changed = bytearray(content)
    for _ in range(random_.choice([1, 1, 2, 4])):
        if len(changed) > FIRST_HEADER:
            random_.choice(MUTATIONS)(changed, random_)
    return bytes(changed)


def log_of(base: bytes, changed: bytes, random_: random.Random) -> bytes:
    """Return a log that makes one file another, with page numbers that may be wrong, and checksums that are right."""
    size = page_size(base)
    pages = max(len(base), len(changed)) // size
    frames = []
    for number in range(1, pages + 1):
        page = changed[(number - 1) * size : number * size].ljust(size, b"\0")
        if page != base[(number - 1) * size : number * size]:
            frames.append((number, random_.choice([0, pages]), page))
    frames.append((1, pages, changed[:size].ljust(size, b"\0")))
    if random_.random() < 0.3:
        number, total, page = frames.pop()
        frames.append((random_.choice([0, number, pages + 9, 2**31]), random_.choice([1, total, 2**31]), page))
    return log(size, frames)


def log(size: int, frames: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Return a write-ahead log: of each frame the page's number, the pages in all if it commits, and the page."""
    salt = b"saltsalt"
    head = struct.pack(">IIII", LOG_MAGIC, LOG_VERSION, size, 0) + salt
    sums = checksum(head, (0, 0))
    parts = [head, struct.pack(">II", *sums)]
    for number, pages, page in frames:
        start = struct.pack(">II", number, pages)
        sums = checksum(start + page, sums)
        parts += [start, salt, struct.pack(">II", *sums), page]
    return b"".join(parts)


def checksum(content: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """Go on with a checksum of the log, <https://www.sqlite.org/fileformat2.html#checksum_algorithm>."""
    one, other = sums
    for first, second in struct.iter_unpack("<II", content):
        one = (one + first + other) & 0xFFFFFFFF
        other = (other + second + one) & 0xFFFFFFFF
    return one, other
