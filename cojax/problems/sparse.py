"""Features that are mostly zero, kept as the columns and values of the others."""

import functools
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._support.checks import CojaxInputError, device_array, is_concrete, whole_number

if TYPE_CHECKING:
    from scipy import sparse


class SparseFeatures(eqx.Module):
    """What `features` of `cojax.costs.Samples` may be: a padded table, one row a sample, of what is not zero.

    A cost reads only the params of the columns that occur and its gradient adds to these, so d columns cost memory and
    time only where params have them. Every sample is padded to the largest number of entries.

    Fields: index (*n, m, z), the column of every entry, 0 <= index < num_features, any where the value is 0; value
    (*n, m, z), differentiable; num_features, d, static. An index twice in a sample counts twice.
    Raises `CojaxInputError` for an index outside, and shapes that differ.
    """

    index: Any = eqx.field(converter=functools.partial(device_array, "SparseFeatures", "index"))
    value: Any = eqx.field(converter=functools.partial(device_array, "SparseFeatures", "value"))
    num_features: int = eqx.field(static=True)

    def __check_init__(self):
        whole_number("SparseFeatures", "num_features", self.num_features, at_least=1)
        if not jnp.issubdtype(self.index.dtype, jnp.integer) or not jnp.issubdtype(self.value.dtype, jnp.floating):
            raise CojaxInputError(
                f"SparseFeatures needs whole numbers for index and floats for value, got {self.index.dtype} and "
                f"{self.value.dtype}."
            )
        if self.index.shape != self.value.shape:
            raise CojaxInputError(
                f"SparseFeatures needs index and value of one shape, got {self.index.shape} and {self.value.shape}."
            )
        if is_concrete(self.index) and self.index.size:
            low, high = int(self.index.min()), int(self.index.max())
            if low < 0 or high >= self.num_features:
                raise CojaxInputError(
                    f"SparseFeatures needs 0 <= index < {self.num_features}, the number of features, got {low} to "
                    f"{high}: another would read the params of another column."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """(*n, m, d), as of the dense array."""
        return (*self.index.shape[:-1], self.num_features)

    @property
    def ndim(self) -> int:
        """The number of axes of the dense array."""
        return self.index.ndim

    @property
    def dtype(self) -> Any:
        """The dtype of the values."""
        return self.value.dtype

    def astype(self, dtype: Any) -> "SparseFeatures":
        """The same with values of another dtype."""
        return SparseFeatures(self.index, self.value.astype(dtype), self.num_features)

    def __matmul__(self, params: Float[Array, "d *c"]) -> Float[Array, "m *c"]:
        """The product of (m, d) features with params (d,) or (d, c)."""
        picked = params.at[self.index].get(mode="promise_in_bounds")
        value = self.value.reshape(*self.value.shape, *[1] * (params.ndim - 1))
        return jnp.sum(value * picked, axis=1)


def pad_rows(matrix: "sparse.csr_array") -> tuple[np.ndarray, np.ndarray]:
    """Columns (N, z) and values (N, z) of a SciPy matrix (N, d) by rows, padded with value 0."""
    lengths = np.diff(matrix.indptr)
    row = np.repeat(np.arange(len(lengths)), lengths)
    slot = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], lengths)
    index = np.zeros((len(lengths), int(lengths.max(initial=1))), np.int32)
    value = np.zeros(index.shape, matrix.dtype)
    index[row, slot], value[row, slot] = matrix.indices, matrix.data
    return index, value
