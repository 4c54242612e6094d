import typing
import dagger
from dagger import dag, function, interface, object_type

@interface
class Animal(typing.Protocol):
    @function
    async def name(self, suffix: str) -> str: ...
    @function
    def friend(self) -> "Animal": ...


@object_type
class Farm:
    @function
    async def go(self) -> str:
        g = dag.greeter()
        duck = dag.duck(nick="donald")
        out = [await g.greet(duck.as_greeter_named()), await g.greet(duck)]
        out += await g.greet_all([duck, duck.friend()])
        out.append(await g.same(duck).name("="))
        out.append(await duck.quack())
        out.append(await duck.keep().told())
        return " | ".join(out)
    @function
    def animal(self) -> Animal:
        return dag.duck(nick="dagobert")
    @function
    def animals(self) -> list[Animal]:
        return [dag.duck(nick="a"), dag.duck(nick="b")]
