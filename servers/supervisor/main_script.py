"""What the running interpreter will do once it has started, changed before it does so: which file, or which `-c` command.

CPython keeps it in its configuration and offers no way to change it from within: `PyConfig.run_command`, `run_module` and
`run_filename`, one behind the other, and `argv`, from which sys.path[0] is made. The file name and argv are found by their
contents, in memory that is read without ever following a wrong pointer; where they are not found exactly once, or the other two
are not empty, nothing is changed and nothing can be held.
Source: CPython's Include/cpython/initconfig.h and Modules/main.c (pymain_run_python), the same in 3.11 to 3.13.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence

from servers.supervisor.held import CannotHold

_CONFIG_BYTES = 1024
"""More than any version's PyConfig has; what lies behind it belongs to the interpreter's state and is only looked at."""

_POINTER_BYTES = ctypes.sizeof(ctypes.c_void_p)


class MainScript:
    def __init__(self, *, filename_slot: int, arguments: int) -> None:
        self._filename_slot = filename_slot
        self._command_slot = filename_slot - 2 * _POINTER_BYTES
        self._arguments = arguments

    @classmethod
    def find(cls) -> MainScript:
        """In an interpreter started as `python NAME` that has not opened it yet. Raises CannotHold."""
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            config = _Config(memory.fileno())
            filename_slot = config.slot_of(f"{os.getcwd()}/{sys.argv[0]}")
            if config.words_before(filename_slot, count=2) != [0, 0]:
                raise CannotHold("PyConfig: run_command and run_module are not before run_filename")
            return cls(filename_slot=filename_slot, arguments=config.list_of(sys.argv[0]))

    def set_file(self, path: str, *, args: Sequence[str]) -> None:
        """As if the interpreter had been started as `python PATH ARG...` in the present working directory."""
        _set_word(self._filename_slot, _copy(path if path.startswith("/") else f"{os.getcwd()}/{path}"))
        self._set_arguments([path, *args])

    def set_command(self, command: str, *, args: Sequence[str]) -> None:
        """As if it had been started as `python -c COMMAND ARG...`."""
        _set_word(self._filename_slot, 0)
        _set_word(self._command_slot, _copy(command + "\n"))
        self._set_arguments(["-c", *args])

    def _set_arguments(self, arguments: Sequence[str]) -> None:
        items = _allocate(len(arguments) * _POINTER_BYTES)
        for index, argument in enumerate(arguments):
            _set_word(items + index * _POINTER_BYTES, _copy(argument))
        _set_word(self._arguments, len(arguments))
        _set_word(self._arguments + _POINTER_BYTES, items)


class _Config:
    """PyConfig as so many pointers, of which we know what some must point to."""

    def __init__(self, memory_fd: int) -> None:
        self._memory_fd = memory_fd
        try:
            get_config = ctypes.pythonapi._Py_GetConfig
        except AttributeError as error:
            raise CannotHold("_Py_GetConfig: not there") from error
        get_config.restype = ctypes.c_void_p
        self._address = get_config()
        self._words = self._read_words(self._address, count=_CONFIG_BYTES // _POINTER_BYTES)

    def slot_of(self, text: str) -> int:
        """The address of the one `wchar_t *` that points to `text`."""
        return self._only([self._address + index * _POINTER_BYTES for index, word in enumerate(self._words) if self._is_at(word, text)])

    def words_before(self, slot: int, *, count: int) -> list[int]:
        return self._read_words(slot - count * _POINTER_BYTES, count=count)

    def list_of(self, text: str) -> int:
        """The address of the one PyWideStringList (length, items) that consists of `text`."""
        pairs = enumerate(zip(self._words, self._words[1:], strict=False))
        ones = [(index, items) for index, (length, items) in pairs if length == 1]
        places = [index for index, items in ones if any(self._is_at(word, text) for word in self._read_words(items, count=1))]
        return self._only([self._address + index * _POINTER_BYTES for index in places])

    def _is_at(self, address: int, text: str) -> bool:
        wanted = bytes(ctypes.create_unicode_buffer(text))
        return self._read(address, size=len(wanted)) == wanted

    def _read_words(self, address: int, *, count: int) -> list[int]:
        data = self._read(address, size=count * _POINTER_BYTES)
        return [int.from_bytes(data[at : at + _POINTER_BYTES], sys.byteorder) for at in range(0, len(data), _POINTER_BYTES)]

    def _read(self, address: int, *, size: int) -> bytes:
        """Empty where nothing is mapped: the kernel looks, we do not."""
        try:
            return os.pread(self._memory_fd, size, address)
        except (OSError, OverflowError):
            return b""

    @staticmethod
    def _only(found: list[int]) -> int:
        if len(found) != 1:
            raise CannotHold(f"PyConfig: {len(found)} places instead of one")
        return found[0]


def _copy(text: str) -> int:
    buffer = ctypes.create_unicode_buffer(text)
    address = _allocate(ctypes.sizeof(buffer))
    ctypes.memmove(address, buffer, ctypes.sizeof(buffer))
    return address


def _allocate(size: int) -> int:
    """By the interpreter's own allocator, for it frees at its end what it finds. What was there before is left to lie."""
    allocate = ctypes.pythonapi.PyMem_RawMalloc
    allocate.restype, allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    address = allocate(size)
    if not address:
        raise MemoryError
    return int(address)


def _set_word(address: int, value: int) -> None:
    ctypes.c_size_t.from_address(address).value = value
