"""The worker's settings: from the environment, a ``.env`` file, or keyword arguments; read once at start."""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from .sandbox import SlicerLimits


class SlicerSettings(BaseSettings):
    """Everything has a working default beside a coordinator on the same host."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, populate_by_name=True)

    data_dir: Path = Field(default=Path(".printfarm"), validation_alias=AliasChoices("PRINTFARM_DATA_DIR"))
    control_target: str = Field(default="127.0.0.1:4102", validation_alias=AliasChoices("PRINTFARM_CONTROL_TARGET"))
    control_server_name: str = Field(
        default="coordinator", validation_alias=AliasChoices("PRINTFARM_CONTROL_SERVER_NAME")
    )
    credentials_dir: Path | None = Field(default=None, validation_alias=AliasChoices("PRINTFARM_SLICER_CREDENTIALS"))
    # This worker's alone; a new folder of the system's temporary ones if unset.
    work_dir: Path | None = Field(default=None, validation_alias=AliasChoices("PRINTFARM_SLICER_WORK_DIR"))
    # The folder of Cura's own definitions; where Cura keeps them if unset.
    cura_definitions: Path | None = Field(
        default=None, validation_alias=AliasChoices("PRINTFARM_SLICER_CURA_DEFINITIONS")
    )
    # OrcaSlicer's program: an unpacked AppImage's ``AppRun``, say; looked for in PATH if unset.
    orca_program: Path | None = Field(default=None, validation_alias=AliasChoices("PRINTFARM_SLICER_ORCA"))
    # Slices without a sandbox where none can be made: network and files of this host are then open to the slicer.
    limits_only: bool = Field(default=False, validation_alias=AliasChoices("PRINTFARM_SLICER_LIMITS_ONLY"))
    memory_mib: int = Field(
        default=4_096, ge=128, le=1 << 20, validation_alias=AliasChoices("PRINTFARM_SLICER_MEMORY_MIB")
    )
    seconds: int = Field(default=900, ge=1, le=86_400, validation_alias=AliasChoices("PRINTFARM_SLICER_SECONDS"))
    file_mib: int = Field(default=2_048, ge=1, le=1 << 20, validation_alias=AliasChoices("PRINTFARM_SLICER_FILE_MIB"))
    log_level: str = Field(default="INFO", validation_alias=AliasChoices("PRINTFARM_LOG_LEVEL"))

    @property
    def credentials(self) -> Path:
        """The folder of this worker's key and certificate."""
        return self.credentials_dir or self.data_dir / "slicer"

    @property
    def limits(self) -> SlicerLimits:
        """What one slicing may take; processor time is twice the wall's, for a slicer with threads."""
        return SlicerLimits(
            memory_bytes=self.memory_mib << 20,
            cpu_seconds=2 * self.seconds,
            wall_seconds=float(self.seconds),
            file_bytes=self.file_mib << 20,
        )
