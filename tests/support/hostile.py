"""Archives that lie, made byte by byte."""

import io
import struct
import zipfile

import numpy as np


def npy(values):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(values), allow_pickle=True)
    return buffer.getvalue()


def header(shape, dtype="<f8", text=None):
    """An .npy file that ends after its header."""
    text = text or f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + len(text.encode()).to_bytes(2, "little") + text.encode()


def npz(features=None, targets=None, kind=zipfile.ZIP_DEFLATED, **others):
    """An archive of raw members; by default two samples of three features."""
    members = {
        "features.npy": npy(np.arange(6.0).reshape(2, 3)) if features is None else features,
        "targets.npy": npy(np.ones(2)) if targets is None else targets,
        **others,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def lying_npz():
    """A quarter of a gigabyte of zeros, of which the archive's directory says that they are 48 kB."""
    whole = header((2000, 3)) + bytes(1 << 28)
    said = len(header((2000, 3))) + 48_000
    return npz(features=whole).replace(struct.pack("<I", len(whole)), struct.pack("<I", said))


class Trap:
    """An object that would write a file if anyone unpickled it."""

    def __reduce__(self):
        return (open, ("trapped", "w"))
