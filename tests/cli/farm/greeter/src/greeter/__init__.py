import typing
import dagger
from dagger import function, interface, object_type

@interface
class Named(typing.Protocol):
    @function
    async def name(self, suffix: str) -> str: ...
    @function
    def friend(self) -> "Named": ...

@object_type
class Greeter:
    @function
    async def greet(self, thing: Named) -> str:
        return "hello " + await thing.name("!") + " " + await thing.friend().name("?")
    @function
    async def greet_all(self, things: list[Named]) -> list[str]:
        return [await t.name(".") for t in things]
    @function
    def same(self, thing: Named) -> Named:
        return thing
