"""All tests run in float64, with strict promotion, with every annotated shape and every "converged" checked."""

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

install_import_hook("cojax", "beartype.beartype")


@pytest.fixture(scope="session", autouse=True)
def converged_means_certified():
    """No run of any test may call itself converged and break what that promises."""
    import contract

    with contract.watched():
        yield
