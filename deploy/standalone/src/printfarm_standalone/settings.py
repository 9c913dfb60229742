"""The standalone's settings: from the environment or a ``.env`` file."""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class StandaloneSettings(BaseSettings):
    """Everything has a working default."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, populate_by_name=True)

    data_dir: Path = Field(default=Path(".printfarm"), validation_alias=AliasChoices("PRINTFARM_DATA_DIR"))
    port: int = Field(default=4000, ge=0, le=65535, validation_alias=AliasChoices("PRINTFARM_PORT"))
    virtual_printers: int = Field(default=3, ge=0, le=200, validation_alias=AliasChoices("PRINTFARM_VIRTUAL_PRINTERS"))
    time_scale: float = Field(default=20.0, gt=0, validation_alias=AliasChoices("PRINTFARM_TIME_SCALE"))
    sample: bool = Field(default=True, validation_alias=AliasChoices("PRINTFARM_SAMPLE"))
    # [[printer]] tables as in an agent's TOML; the embedded agent drives them beside the virtual ones.
    printers: Path | None = Field(default=None, validation_alias=AliasChoices("PRINTFARM_PRINTERS"))
    log_level: str = Field(default="WARNING", validation_alias=AliasChoices("PRINTFARM_LOG_LEVEL"))

    @property
    def printers_file(self) -> Path:
        """``printers.toml`` in the data folder, unless another is named."""
        return self.printers or self.data_dir / "printers.toml"
