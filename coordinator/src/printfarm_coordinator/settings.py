"""The coordinator's settings: from the environment, a ``.env`` file, or keyword arguments; read once at start."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AliasChoices, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from printfarm_rpc.limits import HEARTBEAT_SECONDS, LEASE_SECONDS, START_TTL_SECONDS

from .domain.safety_policy import Policy, policy_of


def _named(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class CoordinatorSettings(BaseSettings):
    """Unset, the embedded default serves: SQLite, an in-process bus, folders below ``data_dir``."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, populate_by_name=True)

    data_dir: Path = Field(default=Path(".printfarm"), validation_alias=_named("PRINTFARM_DATA_DIR"))
    database_url: str = Field(default="", validation_alias=_named("DATABASE_URL"))
    rabbitmq_url: str = Field(default="", validation_alias=_named("RABBITMQ_URL"))
    media_storage_path: Path | None = Field(default=None, validation_alias=_named("MEDIA_STORAGE_PATH"))
    agents_address: str = Field(default="127.0.0.1:4101", validation_alias=_named("PRINTFARM_AGENTS_ADDRESS"))
    control_address: str = Field(default="127.0.0.1:4102", validation_alias=_named("PRINTFARM_CONTROL_ADDRESS"))
    enrollment_address: str = Field(default="127.0.0.1:4103", validation_alias=_named("PRINTFARM_ENROLLMENT_ADDRESS"))
    admin_address: str = Field(default="127.0.0.1:4104", validation_alias=_named("PRINTFARM_ADMIN_ADDRESS"))
    metrics_address: str = Field(default="127.0.0.1:4105", validation_alias=_named("PRINTFARM_METRICS_ADDRESS"))
    credentials_dir: Path | None = Field(default=None, validation_alias=_named("PRINTFARM_COORDINATOR_CREDENTIALS"))
    ca_dir: Path | None = Field(default=None, validation_alias=_named("PRINTFARM_CA_DIR"))
    # More DNS names or IP addresses under which agents reach this coordinator.
    server_names: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), validation_alias=_named("PRINTFARM_SERVER_NAMES")
    )
    reflection: bool = Field(default=False, validation_alias=_named("PRINTFARM_REFLECTION"))
    database_pool: int = Field(default=10, ge=1, le=200, validation_alias=_named("PRINTFARM_DATABASE_POOL"))
    heartbeat_seconds: float = Field(
        default=HEARTBEAT_SECONDS, gt=0, validation_alias=_named("PRINTFARM_HEARTBEAT_SECONDS")
    )
    lease_seconds: float = Field(default=LEASE_SECONDS, gt=0, validation_alias=_named("PRINTFARM_LEASE_SECONDS"))
    start_ttl_seconds: float = Field(
        default=START_TTL_SECONDS, gt=0, le=START_TTL_SECONDS, validation_alias=_named("PRINTFARM_START_TTL_SECONDS")
    )
    # ISO 4217, such as EUR. Unset, no cost is reckoned.
    currency: str = Field(default="", pattern=r"^([A-Z]{3})?$", validation_alias=_named("PRINTFARM_CURRENCY"))
    events_days: int = Field(default=90, ge=1, le=36_500, validation_alias=_named("PRINTFARM_EVENTS_DAYS"))
    # Which findings of print files people may overrule: "unlisted=allow,markup=refuse"; what is left out stays as it is.
    safety_policy_text: str = Field(default="", validation_alias=_named("PRINTFARM_SAFETY_POLICY"))
    # Macros and commands that the farm's printers are known to have.
    allowed_commands: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), validation_alias=_named("PRINTFARM_ALLOWED_COMMANDS")
    )
    log_level: str = Field(default="INFO", validation_alias=_named("PRINTFARM_LOG_LEVEL"))

    @model_validator(mode="before")
    @classmethod
    def _split_names(cls, values: dict[str, object]) -> dict[str, object]:
        for key in ("PRINTFARM_SERVER_NAMES", "server_names", "PRINTFARM_ALLOWED_COMMANDS", "allowed_commands"):
            if isinstance(text := values.get(key), str):
                values[key] = tuple(name.strip() for name in text.split(",") if name.strip())
        return values

    @model_validator(mode="after")
    def _times_agree(self) -> Self:
        if self.lease_seconds < 4 * self.heartbeat_seconds:
            raise ValueError("PRINTFARM_LEASE_SECONDS must be at least 4 x PRINTFARM_HEARTBEAT_SECONDS")
        if self.start_ttl_seconds >= self.lease_seconds:
            raise ValueError("PRINTFARM_START_TTL_SECONDS must be less than PRINTFARM_LEASE_SECONDS")
        return self

    @model_validator(mode="after")
    def _policy_is_one(self) -> Self:
        try:
            policy_of(self.safety_policy_text, self.allowed_commands)
        except ValueError as error:
            raise ValueError(f"PRINTFARM_SAFETY_POLICY: {error}") from error
        return self

    @property
    def safety_policy(self) -> Policy:
        """Which findings of print files people may overrule. Raises ValueError."""
        return policy_of(self.safety_policy_text, self.allowed_commands)

    @property
    def database(self) -> str:
        """The URL, or the embedded default."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'farm.db'}"

    @property
    def artifacts(self) -> Path:
        """The folder of stored files."""
        return self.media_storage_path or self.data_dir / "artifacts"

    @property
    def credentials(self) -> Path:
        """The folder of this program's key and certificate."""
        return self.credentials_dir or self.data_dir / "coordinator"

    @property
    def authority(self) -> Path:
        """The folder of the farm's CA."""
        return self.ca_dir or self.data_dir / "ca"
