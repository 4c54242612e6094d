import enum
import dagger
from dagger import field, function, object_type

@dagger.enum_type
class Loud(enum.Enum):
    very = "VERY"
    NOT_AT_ALL = "not at all"

@object_type
class Sound:
    text: str = field()

@object_type
class Deep:
    @function
    def sound(self, loud: Loud = Loud.very, times: int = 1, all: list[str] | None = None) -> Sound:
        return Sound(text=f"{loud.value} {times} {all}")
    @function
    def maybe(self, give: bool) -> Sound | None:
        return Sound(text="given") if give else None
    @function
    def nothing(self) -> None:
        return None
