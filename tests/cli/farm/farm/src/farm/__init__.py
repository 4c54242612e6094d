import dagger
from dagger import dag, function, object_type

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
