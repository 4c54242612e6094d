import dagger
from dagger import dag, field, function, object_type

@object_type
class Duck:
    nick: str = field(default="d")
    kept: dagger.DeepSound | None = None

    @function
    async def name(self, suffix: str) -> str:
        return self.nick + suffix
    @function
    def friend(self) -> "Duck":
        return Duck(nick=self.nick + "'s friend")
    @function
    async def quack(self) -> str:
        return await dag.deep().sound(loud=dagger.DeepLoud.NOT_AT_ALL, times=2, all=["a"]).text()
    @function
    async def keep(self) -> "Duck":
        return Duck(nick=self.nick, kept=dag.deep().sound())
    @function
    async def told(self) -> str:
        return await self.kept.text()
