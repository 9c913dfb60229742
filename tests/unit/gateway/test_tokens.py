"""How far the clocks of gateways may differ: a token holds for half a minute beyond its times, and no longer."""

import time

import jwt
import pytest

from printfarm_gateway.tokens import ALGORITHM, LEEWAY_SECONDS, TokenRefused, Tokens

SECRET = "a secret that is long enough for the test"


def made(**moved: int) -> str:
    token = Tokens(SECRET).make("ann", 1, "access")
    claims = jwt.decode(token, options={"verify_signature": False})
    claims |= {name: int(time.time()) + seconds for name, seconds in moved.items()}
    return jwt.encode(claims, SECRET, ALGORITHM, headers={"typ": "JWT"})


@pytest.mark.parametrize("moved", [{"exp": 10 - LEEWAY_SECONDS}, {"nbf": LEEWAY_SECONDS - 10}])
def test_a_clock_that_is_a_little_off_refuses_nobody(moved: dict[str, int]) -> None:
    assert Tokens(SECRET).read(made(**moved), "access").name == "ann"


@pytest.mark.parametrize("moved", [{"exp": -10 - LEEWAY_SECONDS}, {"nbf": LEEWAY_SECONDS + 10}])
def test_half_a_minute_is_all(moved: dict[str, int]) -> None:
    with pytest.raises(TokenRefused):
        Tokens(SECRET).read(made(**moved), "access")
