"""How many copies a plate takes is found with few tries."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from printfarm_slicer.filling import most_that_fit


@given(most=st.integers(1, 100), capacity=st.integers(1, 200))
def test_the_largest_number_that_fits_is_found_with_few_tries(most: int, capacity: int) -> None:
    tried: list[int] = []

    async def fits(parts: int) -> bool:
        tried.append(parts)
        return parts <= capacity

    assert asyncio.run(most_that_fit(most, fits)) == min(most, capacity)
    assert len(tried) == len(set(tried)) <= 7
