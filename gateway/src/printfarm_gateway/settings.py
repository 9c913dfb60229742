"""The gateway's settings: from the environment, a ``.env`` file, or keyword arguments; read once at start."""

from pathlib import Path

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def _named(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class GatewaySettings(BaseSettings):
    """Unset, the embedded default serves: an in-process limiter, a key for tokens in the data folder."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, populate_by_name=True)

    data_dir: Path = Field(default=Path(".printfarm"), validation_alias=_named("PRINTFARM_DATA_DIR"))
    host: str = Field(default="127.0.0.1", validation_alias=_named("PRINTFARM_HOST"))
    port: int = Field(default=4000, ge=0, le=65535, validation_alias=_named("PRINTFARM_PORT"))
    control_target: str = Field(default="127.0.0.1:4102", validation_alias=_named("PRINTFARM_CONTROL_ADDRESS"))
    control_server_name: str = Field(default="coordinator", validation_alias=_named("PRINTFARM_CONTROL_SERVER_NAME"))
    credentials_dir: Path | None = Field(default=None, validation_alias=_named("PRINTFARM_GATEWAY_CREDENTIALS"))
    jwt_secret_key: str = Field(default="", validation_alias=_named("JWT_SECRET_KEY"))
    redis_url: str = Field(default="", validation_alias=_named("REDIS_URL"))
    # Addresses of reverse proxies whose X-Forwarded-For is believed, separated by commas.
    trusted_proxies: str = Field(default="", validation_alias=_named("PRINTFARM_TRUSTED_PROXIES"))
    requests_per_minute: int = Field(default=6_000, ge=1, validation_alias=_named("PRINTFARM_REQUESTS_PER_MINUTE"))
    failures_per_minute: int = Field(default=30, ge=1, validation_alias=_named("PRINTFARM_FAILURES_PER_MINUTE"))
    # How long a request's head may take, and how long a body may pause.
    head_seconds: float = Field(default=20.0, gt=0, validation_alias=_named("PRINTFARM_HEAD_SECONDS"))
    body_grace_seconds: float = Field(default=20.0, gt=0, validation_alias=_named("PRINTFARM_BODY_GRACE_SECONDS"))
    streams_per_principal: int = Field(default=50, ge=1, validation_alias=_named("PRINTFARM_STREAMS_PER_PRINCIPAL"))
    log_level: str = Field(default="INFO", validation_alias=_named("PRINTFARM_LOG_LEVEL"))

    @field_validator("jwt_secret_key")
    @classmethod
    def _long_enough(cls, value: str) -> str:
        if value and len(value.encode()) < 32:
            raise ValueError("JWT_SECRET_KEY must have at least 32 bytes, such as the output of `openssl rand -hex 32`")
        return value

    @property
    def credentials(self) -> Path:
        """The folder of this program's key and certificate."""
        return self.credentials_dir or self.data_dir / "gateway"

    @property
    def proxies(self) -> frozenset[str]:
        """As addresses."""
        return frozenset(address.strip() for address in self.trusted_proxies.split(",") if address.strip())


def variables() -> list[str]:
    """The names of the environment that are read."""
    found = []
    for field in GatewaySettings.model_fields.values():
        assert isinstance(field.validation_alias, AliasChoices)
        found += [str(choice) for choice in field.validation_alias.choices]
    return found
