"""The launcher's configuration, checked: Hydra's composed tree becomes one typed, frozen object."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from federation.encoders import Encoder, load_encoder
from federation.errors import InputError
from federation.plan_parts import Aggregation, Positive, Probability, RobustRule
from federation.taxonomy import AreaLevel, Family, Indicator
from simulations.world.interface import World

Seed = Annotated[int, Field(ge=0, le=2**32)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StudySettings(_Frozen):
    name: str
    purpose: str
    period_start: date | None
    period_end: date | None
    holdout_share: float
    quorum: int | None
    colluders: Annotated[int, Field(ge=0)] | None
    stage_deadline_seconds: float


class SyntheticSettings(_Frozen):
    name: Literal["synthetic"]
    seed: Seed
    size: str
    records: int | None
    partners: int
    quarter: int
    overlap: float
    shock_quarter: int | None
    definition_quarter: int | None

    def open(self) -> World:
        """The invented world.

        Raises:
            InputError: naming the setting that is out of bounds.
        """
        from simulations.world.parameters import Parameters, TimeParameters
        from simulations.world.partners import some_partners
        from simulations.world.synthetic import SyntheticWorld

        time = TimeParameters(shock_quarter=self.shock_quarter, definition_quarter=self.definition_quarter)
        return SyntheticWorld(
            seed=self.seed, size=self.size, records=self.records, quarter=self.quarter,
            parameters=Parameters(partners=some_partners(self.partners), overlap=self.overlap, time=time))


class RealSettings(_Frozen):
    name: Literal["real"]
    seed: Seed
    parts: tuple[str, ...]
    skew: Literal["mild", "strong"] = "mild"


class EncoderSettings(_Frozen):
    name: str
    dimension: int = 4096
    folder: Path | None = None


class ModelSettings(_Frozen):
    hidden_units: int | None
    intercept_scale: float
    start: Literal["sentences", "zero"]


class RobustSettings(_Frozen):
    rule: RobustRule | Literal["none"]
    norm_bound: Positive | None
    trimmed_each_side: Annotated[int, Field(ge=1)]
    radius: Positive | None
    iterations: Annotated[int, Field(ge=1, le=100)]


class TrainingSettings(_Frozen):
    aggregation: Aggregation
    robust: RobustSettings
    rounds: Annotated[int, Field(ge=1)]
    local_steps: Annotated[int, Field(ge=1)]
    learning_rate: float | None
    weight_decay: float
    averaged_share: float
    sampling_probability: Probability
    l2_clip_norm: float
    max_records_per_person: int


class PrivacySettings(_Frozen):
    delta: Positive
    training_epsilon: Positive
    statistics_epsilon: Positive


class IndicatorSettings(_Frozen):
    level: AreaLevel
    tags: tuple[Indicator, ...]


class AppearanceSettings(_Frozen):
    releases_a_year: int
    releases_per_person: int
    release_of_year: int


class SeriesSettings(_Frozen):
    name: str
    index: int
    level: AreaLevel


class ScoresSettings(_Frozen):
    bins: int
    reach: float


class StatisticsSettings(_Frozen):
    aggregation: Aggregation
    shares: dict[Family, Positive]
    max_roles_per_person: int
    appearances: AppearanceSettings
    indicators: IndicatorSettings | None
    corridors: bool
    series: SeriesSettings | None
    scores: ScoresSettings | None
    protected: tuple[str, ...]
    flag_threshold: float


class ReleaseSettings(_Frozen):
    minimum_count: int
    false_publication: float
    minimum_partners: int
    minimum_kinds: int
    most_of_one_partner: float
    least_youden: float
    band_factor: float
    embargo_days: int


class SimulationSettings(_Frozen):
    engine: Literal["in_process", "flower"]
    noise: Literal["seeded", "system"]
    release: Literal["published", "by_hand"]
    baselines: bool
    threads: Annotated[int, Field(ge=1, le=64)]
    workers: Annotated[int, Field(ge=1, le=64)]
    cache: Path | None


class DataSettings(_Frozen):
    root: Path | None


class Settings(_Frozen):
    """Everything `leelight simulate` can be told."""

    study: StudySettings
    world: Annotated[SyntheticSettings | RealSettings, Field(discriminator="name")]
    encoder: EncoderSettings
    model: ModelSettings
    training: TrainingSettings
    privacy: PrivacySettings
    statistics: StatisticsSettings
    release: ReleaseSettings
    simulation: SimulationSettings
    data: DataSettings
    seed: Seed

    def __hash__(self) -> int:
        # Worlds are kept by their settings, and shares are a dict.
        return hash(self.model_dump_json())

    @classmethod
    def from_hydra(cls, config: DictConfig) -> Settings:
        """Resolve and check a composed configuration.

        Raises:
            InputError: naming each key that is missing, unknown or out of bounds.
        """
        try:
            tree: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            return cls.model_validate(tree)
        except OmegaConfBaseException as error:
            raise InputError("configuration", str(error).splitlines()[0],
                             remedy="give the missing value as key=value") from None
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise InputError("configuration", problems, remedy="leelight simulate --cfg job shows every key") from None

    def open_world(self) -> World:
        """The world that the settings name.

        Raises:
            InputError: naming what is out of bounds; or if `world=real` lacks `data.root`, or its files.
        """
        if isinstance(self.world, SyntheticSettings):
            return self.world.open()
        if self.data.root is None:
            raise InputError("data.root", "is not set", remedy="give the folder of the public sets: data.root=FOLDER")
        from simulations.world.real import RealWorld

        return RealWorld(data_root=self.data.root, seed=self.world.seed, parts=self.world.parts,
                         skew=self.world.skew)

    def open_encoder(self) -> Encoder:
        """The encoder that the settings name."""
        return load_encoder(self.encoder.name, threads=self.simulation.threads, folder=self.encoder.folder,
                            dimension=self.encoder.dimension)
