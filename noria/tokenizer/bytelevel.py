"""The byte alphabet of byte-level BPE: how a token is spelled in `tokenizer.json`.

In: a token as stored. Out: its bytes. A byte that prints in Latin-1 stands for itself; the 68
others (controls, spaces, the soft hyphen) stand as the characters from U+0100 on, in order
(Radford et al. 2019, GPT-2).
"""

from __future__ import annotations

_PRINTABLE = (range(0x21, 0x7F), range(0xA1, 0xAD), range(0xAE, 0x100))


def _byte_of_character() -> dict[str, int]:
    printable = {byte for span in _PRINTABLE for byte in span}
    table = {chr(byte): byte for byte in printable}
    hidden = [byte for byte in range(256) if byte not in printable]
    table.update({chr(0x100 + number): byte for number, byte in enumerate(hidden)})
    return table


BYTE_OF_CHARACTER = _byte_of_character()
_CHARACTER_OF_BYTE = {byte: character for character, byte in BYTE_OF_CHARACTER.items()}


def spelled_bytes(token: str) -> bytes:
    """The bytes that a stored token stands for. Raises KeyError for a character outside it."""
    return bytes(BYTE_OF_CHARACTER[character] for character in token)


def spelling(token: bytes) -> str:
    """How a token of these bytes is stored."""
    return "".join(_CHARACTER_OF_BYTE[byte] for byte in token)
