"""Mutations that know nothing of what they change."""

import random

EDGES = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def flip(content: bytearray, random_: random.Random) -> None:
    """Flip a few bits."""
    for _ in range(random_.choice([1, 1, 2, 8])):
        if content:
            content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)


def span(content: bytearray, random_: random.Random) -> slice:
    """Choose a part, more often a short one."""
    start = random_.randrange(len(content) + 1)
    return slice(start, min(len(content), start + random_.choice([1, 2, 8, 64, len(content)])))


def delete(content: bytearray, random_: random.Random) -> None:
    """Take a part out."""
    del content[span(content, random_)]


def repeat(content: bytearray, random_: random.Random) -> None:
    """Put a part in again, elsewhere or many times over."""
    part = content[span(content, random_)][:256]
    place = random_.randrange(len(content) + 1)
    content[place:place] = part * random_.choice([1, 1, 2, 50])


def put_number(content: bytearray, place: int, size: int, random_: random.Random) -> None:
    """Set a big-endian number to one of the edges of its range, or close to what it was."""
    old = int.from_bytes(content[place : place + size], "big")
    number = random_.choice([random_.choice(EDGES), old + random_.choice([-2, -1, 1, 2]), random_.randrange(64)])
    content[place : place + size] = (number % 256**size).to_bytes(size, "big")
